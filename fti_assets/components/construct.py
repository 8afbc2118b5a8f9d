"""Encoders, gates and splits as YAML writes them: a public name of ``fti_assets``, and its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import dagster as dg

import fti_assets as fti
from fti_assets.components.reference import is_path, python_object
from fti_assets.errors import DeclarationError, one_of


def construct(
    given: str | Mapping[str, Any], context: dg.ComponentLoadContext | None, *, module: str, what: str
) -> Any:
    """Make what ``Embedding`` or ``{type: Embedding, max_categories: 64}`` says.

    Args:
        given: a name, or a mapping of ``type`` and arguments; the type may be a path to a class of the user's own.
        context: where files beside the YAML lie.
        module: the module of ``fti_assets`` whose public names may be given.
        what: names the place in errors.

    Raises:
        DeclarationError: there is no such name, or it takes other arguments.
    """
    arguments = {"type": given} if isinstance(given, str) else dict(given)
    name = arguments.pop("type", None)
    known = sorted(public for public, place in fti._MODULES.items() if place == module)
    if isinstance(name, str) and is_path(name):
        made = python_object(name, context, what=what)
    elif name in known:
        made = getattr(fti, name)
    else:
        raise DeclarationError(
            f"{what} has the type {name!r}: it is {one_of(known)}, or a path to a class, as in {{type: {known[0]}}}"
        )
    try:
        bound = inspect.signature(made).bind(**arguments)
    except TypeError as error:
        raise DeclarationError(
            f"{what}: {name} takes {one_of(inspect.signature(made).parameters)}, not {one_of(arguments)}: {error}"
        ) from error
    return made(*bound.args, **bound.kwargs)
