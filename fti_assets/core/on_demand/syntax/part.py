"""What of a module counts for one function: statements, and names of imports."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from fti_assets.core.on_demand.syntax.module import Module


@dataclass
class Part:
    """What counts of a module: ``indexes`` of its top-level statements, and ``imports`` at its top, each origin, name and second name."""

    module: Module
    indexes: set[int] = field(default_factory=set)
    imports: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def statements(self) -> list[ast.stmt]:
        """In their order."""
        return [self.module.tree.body[index] for index in sorted(self.indexes)]
