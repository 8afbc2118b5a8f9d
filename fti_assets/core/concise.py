"""Declarations in few words."""

import dataclasses
from typing import Any


class Concise:
    """A dataclass whose text leaves out what it does not say: a code version that is made of it keeps when the class gets arguments."""

    def __repr__(self) -> str:
        own: Any = self
        terms = [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in dataclasses.fields(own)
            if one.default is dataclasses.MISSING or getattr(self, one.name) != one.default
        ]
        return f"{type(self).__name__}({', '.join(terms)})"
