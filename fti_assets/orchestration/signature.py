"""What a user's function takes: its parameters and their types."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

from fti_assets.errors import DeclarationError


def annotations_of(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The real types of a function's parameters, text annotations read among its globals and its caller's names."""
    try:
        return typing.get_type_hints(function, localns=dict(names))
    except NameError as error:
        raise DeclarationError(
            f"a parameter of {function.__name__!r} is annotated with a name that is not known here: {error}"
        ) from error
