"""What is declared of a vector: how many numbers it has, and how a model gets them. Encoders and on-demand functions say it alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError, excerpt

MOST = 65_536
"""Numbers that a vector may have."""


@checked_arguments()
@dataclass(frozen=True)
class Vector:
    """A vector of fixed length, such as an embedding, which is passed to the model unchanged: float32, ``dim`` columns. Nothing is
    learned.

    It is the encoder of a list column of floats (``FLOAT[]``, ``DOUBLE[]``), and the type of an on-demand function's output that is
    an array ``[n, dim]``. A vector that is missing as a whole (no row, an expired one, a null) counts as ``dim`` missing numbers. A
    null, a NaN and a value that float32 cannot hold are missing numbers within a vector.

    Args:
        dim: how many numbers each vector has. A row of another length is an error: when it is stored, if the group's schema states
            the length; when the on-demand function returns it; and otherwise when a model is trained on it or gets it in a request.
        missing: the value of a missing number: ``"zero"``, or ``"nan"`` for trees.
        flag: whether to add a column, ``<feature>:missing``, that is 1 where any number is missing and 0 elsewhere.

    Raises:
        DeclarationError: ``dim`` is not a whole number from 1 to 65,536, or ``missing`` is neither.

    >>> Vector(dim=384, flag=True)
    Vector(dim=384, missing='zero', flag=True)
    """

    dim: int
    missing: Literal["zero", "nan"] = "zero"
    flag: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.dim, bool) or not isinstance(self.dim, int) or not 1 <= self.dim <= MOST:
            raise DeclarationError(
                f"Vector(dim={excerpt(self.dim)}): give how many numbers each vector has, 1 to {MOST:,}, as in fti.Vector(dim=384)"
            )
        if self.missing not in ("zero", "nan"):
            raise DeclarationError(f"Vector(missing={excerpt(self.missing)}): give 'zero' or 'nan'")
