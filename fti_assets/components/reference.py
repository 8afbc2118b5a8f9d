"""What YAML names: Python objects by their paths, and encoders, gates and splits by the public names of ``fti_assets``.

A path is ``weather.py:weather`` beside the file, or ``my_project.features.weather``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
from pydantic import BaseModel, PrivateAttr

import fti_assets as fti
from fti_assets.components.mistakes import explain_mistakes, refusal_of
from fti_assets.errors import DeclarationError, list_some, one_of


class PlacedComponent(dg.Component, dg.Resolvable, dg.Model):  # type: ignore[misc]
    """A component that knows where it stands; one that is made in Python stands in no file."""

    _context: Any = PrivateAttr(None)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel] | None:
        """The attributes as YAML gives them; what is refused of them is told in words."""
        model = super().get_model_cls()
        return None if model is None else explain_mistakes(model, cls.__name__)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Any:
        """Make the component from its attributes, and keep where they stand."""
        try:
            component = super().load(attributes, context)
        except Exception as error:  # Dagster's own, of what a template gave
            values = {} if attributes is None else attributes.model_dump(by_alias=True)
            refusal = refusal_of(error, values, cls.__name__)
            if not refusal:
                raise
            raise DeclarationError(f"{_position(context)}: {refusal}") from error
        component._context = context
        return component

    @property
    def place(self) -> str:
        """The file and line of the component."""
        if self._context is None:
            return type(self).__name__
        return _position(self._context)


def _position(context: dg.ComponentLoadContext) -> str:
    """The file and line of what is loaded."""
    positions = context.resolution_context.source_position_tree
    return str(positions.position if positions else context.path)


def is_path(reference: str) -> bool:
    """Whether it is a path to a Python object, not the name of a component."""
    return "." in reference or ":" in reference


def last_name(reference: str) -> str:
    """The object's own name in a path.

    >>> last_name("weather.py:hourly"), last_name("my_project.features.weather")
    ('hourly', 'weather')
    """
    return reference.rpartition(":" if ":" in reference else ".")[2]


def python_object(reference: Any, context: dg.ComponentLoadContext | None, *, what: str) -> Any:
    """The object that a path names; what is no text is the object itself."""
    if not isinstance(reference, str):
        return reference
    module_name, _, name = reference.rpartition(":" if ":" in reference else ".")
    if not module_name or not name:
        raise DeclarationError(
            f"{what} is {reference!r}: write <file>.py:<name> for a file beside the defs.yaml, or <package>.<module>.<name>"
        )
    module = _module(module_name, context, what=f"{what} {reference!r}")
    if not hasattr(module, name):
        own = [each for each, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise DeclarationError(f"{what} {reference!r}: {module.__name__} has no {name!r}; it has {list_some(own)}")
    return getattr(module, name)


def construct(
    terms: str | Mapping[str, Any],
    context: dg.ComponentLoadContext | None,
    *,
    module: str | Collection[str],
    what: str,
    arguments: Mapping[str, Any] | None = None,
) -> Any:
    """Make what ``Embedding`` or ``{type: Embedding, max_categories: 64}`` says.

    Args:
        terms: a name, or a mapping of ``type`` and arguments; the type may be a path to a class of the user's own.
        context: where files beside the YAML lie.
        module: the module of ``fti_assets``, or the modules, whose public names may be given.
        what: names the place in errors.
        arguments: what it takes, where ``terms`` is the name alone and an argument of its own is called ``type``.

    Raises:
        DeclarationError: there is no such name, or it takes other arguments.
    """
    if arguments is None:
        arguments = {} if isinstance(terms, str) else dict(terms)
        terms = terms if isinstance(terms, str) else arguments.pop("type", None)
    name = terms
    modules = [module] if isinstance(module, str) else module
    public = sorted(one for one, place in fti._MODULES.items() if place in modules)
    if isinstance(name, str) and is_path(name):
        target = python_object(name, context, what=what)
    elif name in public:
        target = getattr(fti, name)
    else:
        raise DeclarationError(
            f"{what} has the type {name!r}: it is {one_of(public)}, or a path to a class, as in {{type: {public[0]}}}"
        )
    try:
        bound = inspect.signature(target).bind(**arguments)
    except TypeError as error:
        raise DeclarationError(
            f"{what}: {name} takes {one_of(inspect.signature(target).parameters)}, not {one_of(arguments)}: {error}"
        ) from error
    return target(*bound.args, **bound.kwargs)


def or_variable(value: Any, *, what: str, example: str) -> Any:
    """A text of YAML, or of ``{env: SHOP_DSN}`` the variable that holds it, which is read when a run needs it.

    Args:
        value: the text or the mapping.
        what: names the place in errors.
        example: how it is written, ``dsn: {env: SHOP_DSN}``.

    Raises:
        DeclarationError: it is another mapping.
    """
    if not isinstance(value, Mapping):
        return value
    if list(value) != ["env"] or not isinstance(value["env"], str):
        raise DeclarationError(f"{what} is of {list(value)!r}: write the variable's name, {example}")
    return dg.EnvVar(value["env"])


def gate_of(terms: str | Mapping[str, Any], context: dg.ComponentLoadContext | None, *, what: str) -> Any:
    """The gate that a model names, or what ``fti.gate`` made of a function."""
    if isinstance(terms, str) and is_path(terms):
        target = python_object(terms, context, what=what)
        if hasattr(target, "judge") and not isinstance(target, type):
            return target
    places = {module for module in fti._MODULES.values() if module.startswith("training.judging.gates.")}
    modules = places - {"training.judging.gates.own"}
    return construct(terms, context, module=modules, what=what)


def trigger_of(terms: str | Mapping[str, Any], context: dg.ComponentLoadContext | None, *, what: str) -> Any:
    """The trigger that a model names."""
    modules = {module for module in fti._MODULES.values() if module.startswith("training.triggers.")}
    return construct(terms, context, module=modules, what=what)


def encoders_of(terms: Mapping[str, Any] | None, context: dg.ComponentLoadContext | None) -> dict[str, Any]:
    """The encoders that a view or a model names, by feature."""
    modules = {module for module in fti._MODULES.values() if module.startswith("training.encoders.")}
    return {
        feature: construct(one, context, module=modules, what=f"encoder of feature {feature!r}")
        for feature, one in (terms or {}).items()
    }


def space_of(terms: Mapping[str, Any], context: dg.ComponentLoadContext | None, *, what: str) -> dict[str, Any]:
    """A search space: each parameter by ``{type: LogUniform, low: 0.01, high: 10}`` and the like."""

    def domain(name: str, one: Any) -> Any:
        options = one.get("options") if isinstance(one, Mapping) else None
        if isinstance(options, Mapping):  # each with parameters of its own
            spaces = {option: space_of(below or {}, context, what=what) for option, below in options.items()}
            one = {**one, "options": spaces}
        return construct(one, context, module="training.tuning.spaces", what=f"parameter {name!r} of {what}")

    return {name: domain(name, one) for name, one in terms.items()}


def _module(name: str, context: dg.ComponentLoadContext | None, *, what: str) -> ModuleType:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise DeclarationError(f"{what}: importing {name} failed: {error}") from error
            raise DeclarationError(
                f"{what}: there is no module {error.name!r}; for a file beside the defs.yaml write <file>.py:<name>"
            ) from error
    if context is None:
        raise DeclarationError(f"{what}: a component made in Python has no folder: give the object itself")
    folder: Path = context.path if context.path.is_dir() else context.path.parent
    if not (folder / name).is_file():
        files = sorted(path.name for path in folder.glob("*.py"))
        raise DeclarationError(f"{what}: there is no file {name!r} in {folder}; there is {list_some(files)}")
    module: ModuleType = context.load_defs_relative_python_module(folder / name)
    return module
