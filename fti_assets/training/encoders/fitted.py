"""What every fitted encoder can say: the columns that it gives, and the ONNX nodes that give them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from fti_assets.core.manifest import Column, GraphInput
from fti_assets.training.encoders.nodes import Nodes, Places, category_input


class FittedNumber(ABC):
    """An encoder of a number, an integer or a boolean: all of one kind are one block of the graph."""

    def in_graph(self) -> FittedNumber | FittedSingle:
        """What stands for it in the graph: itself, or one with a float64 input of its own."""
        return self

    def names(self, feature: str) -> list[str]:
        """What its columns in ``dense`` are called."""
        return [feature]

    @classmethod
    def together(cls) -> type[FittedNumber]:
        """The class whose block it is computed in."""
        return cls

    @classmethod
    @abstractmethod
    def block(cls, nodes: Nodes, source: str, encoders: Sequence[Any]) -> tuple[str, Places]:
        """Nodes that make float32 ``[n, w]`` of float32 ``[n, k]``, and where each of ``k`` features stands in it."""


class FittedSingle(ABC):
    """An encoder that has an input of the graph to itself; one that ``is_code`` gives int64 ``[n, 1]`` beside ``dense``."""

    is_code: ClassVar[bool] = False

    def in_graph(self) -> FittedNumber | FittedSingle:
        """What stands for it in the graph."""
        return self

    def source(self, column: Column) -> GraphInput:
        """The input of the graph that it reads."""
        return category_input(column)

    @abstractmethod
    def names(self, feature: str) -> list[str]:
        """What its columns in ``dense`` are called; none of a code."""

    @abstractmethod
    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        """Nodes that make float32 ``[n, w]``, or the code, of its input."""

    @property
    def cardinality(self) -> int:
        """How many codes there are."""
        return 0
