"""Mistakes in the attributes of a component, in words: where, what was there, and what is taken instead.

Pydantic says of each type that an attribute may have why it is not that, by names of its own; here one mistake is one sentence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, create_model, model_validator
from pydantic_core import InitErrorDetails

from fti_assets.errors import excerpt, list_some

Path = tuple[int | str, ...]

_EXTRA, _MISSING = "extra_forbidden", "missing"
_TELLING = ("type", "name", "statistic", "metric", "group", "column", "on_demand")
"""What an item of a list is known by, the first that it has."""


@cache
def explain_mistakes(model: type[BaseModel], component: str) -> type[BaseModel]:
    """A model of attributes that takes what another takes, and says of what it refuses where it stands and what to write.

    Args:
        model: the attributes of a component, as Dagster reads them from YAML.
        component: its name, for errors.
    """

    def explain(cls: type[BaseModel], values: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(values)
        except ValidationError as error:
            mistakes = list(mistakes_of(error, values, model, component))
            raise ValidationError.from_exception_data(error.title, mistakes) from None

    wrapped: Any = classmethod(explain)
    validators: Any = {"explain": model_validator(mode="wrap")(wrapped)}
    result: type[BaseModel] = create_model(model.__name__, __base__=model, __validators__=validators)
    return result


def mistakes_of(
    error: ValidationError, values: Any, model: type[BaseModel], component: str
) -> Iterator[InitErrorDetails]:
    """Each mistake once, where it stands.

    Args:
        error: Pydantic's.
        values: what was given.
        model: what it was given to.
        component: names it.
    """
    by_path: dict[Path, list[Any]] = {}
    for one in error.errors(include_url=False):
        by_path.setdefault(_path_of(one["loc"], values, one["type"]), []).append(one)
    for path, details in by_path.items():
        # That a list is no text either says nothing where something in the list is wrong.
        if any(len(other) > len(path) and other[: len(path)] == path for other in by_path):
            continue
        text = _sentence(path, details, values, model, component)
        # Dagster makes the error again with the line of the file, which it can of Pydantic's own kinds alone.
        yield InitErrorDetails(type="value_error", loc=path, input=details[0]["input"], ctx={"error": ValueError(text)})


def refusal_of(error: BaseException | None, values: Any, component: str) -> str:
    """What Pydantic, among the causes of an error, refuses of attributes once their templates are filled in; empty if it refuses nothing.

    Args:
        error: what loading raised.
        values: the attributes as they were given.
        component: names it.
    """
    while error is not None and not isinstance(error, ValidationError):
        error = error.__cause__ or error.__context__
    if error is None:
        return ""
    sentences = []
    for one in error.errors(include_url=False):
        path = next(_paths_to(values, one["loc"], one["input"]), one["loc"])
        sentences.append(_reason(path, [one], values, component))
    return "; ".join(sentences)


def _paths_to(values: Any, end: Path, value: Any) -> Iterator[Path]:
    """Where in what was given a value stands at the end of a path."""
    parts = (
        values.items() if isinstance(values, Mapping) else enumerate(values) if isinstance(values, list | tuple) else ()
    )
    for part, inner in parts:
        if (part,) == end and inner == value:
            yield (part,)
        yield from ((part, *path) for path in _paths_to(inner, end, value))


def _path_of(place: Sequence[int | str], values: Any, kind: str) -> Path:
    """Where a mistake is in what was given, without the names of the types that were tried."""
    path = list[int | str]()
    for part in place:
        is_list = isinstance(values, Sequence) and not isinstance(values, str)
        if (isinstance(values, Mapping) and part in values) or (is_list and isinstance(part, int)):
            values = values[part]
        elif kind != _MISSING or part != place[-1]:
            continue
        path.append(part)
    return tuple(path)


def _sentence(path: Path, details: Sequence[Any], values: Any, model: type[BaseModel], component: str) -> str:
    where, names = _where(path[:-1], values, component), _names_at(path[:-1], model)
    name = path[-1] if path else ""
    kinds = {one["type"] for one in details}
    takes = f"It takes {list_some(names, 40)}" if names else "See its documentation"
    if _EXTRA in kinds:
        close = difflib.get_close_matches(str(name), names, n=2, cutoff=0.6)
        advice = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        return f"{where} has no attribute {name!r}, which is {excerpt(details[0]['input'])}: {advice}{takes}"
    if _MISSING in kinds:
        return f"{where} needs {name!r}, which is not given. {takes}"
    return _reason(path, details, values, component)


def _reason(path: Path, details: Sequence[Any], values: Any, component: str) -> str:
    """That a value is none that its place takes."""
    where, reasons = (
        _where(path[:-1], values, component),
        dict.fromkeys(str(one["msg"]).replace("Input should", "it should") for one in details),
    )
    what = f"{path[-1]!r} of {where}" if path else where
    return f"{what} is {excerpt(details[0]['input'])}: {', or '.join(reasons)}"


def _where(path: Path, values: Any, component: str) -> str:
    """What holds a mistake, in words: ``rule 2 of drift (statistic 'psi') of MonitorComponent``."""
    name = values.get("name") if isinstance(values, Mapping) else None
    words = f"{component} {name!r}" if isinstance(name, str) else component
    for part in path:
        try:
            values = values[part]
        except (TypeError, KeyError, IndexError):  # it is what a template gave
            values = None
        named = ""
        if isinstance(values, Mapping):
            named = next((f" ({key} {values[key]!r})" for key in _TELLING if isinstance(values.get(key), str)), "")
        words = f"number {part + 1}{named} of {words}" if isinstance(part, int) else f"{part}{named} of {words}"
    return words


def _names_at(path: Path, model: type[BaseModel]) -> list[str]:
    """The attributes that may stand at a place."""
    models = [model]
    for part in path:
        if isinstance(part, str):
            fields = [
                one.model_fields[name] for one in models for name in one.model_fields if _is_called(one, name, part)
            ]
            models = [each for field in fields for each in _models_in(field.annotation)]
    return list(dict.fromkeys(field.alias or name for one in models for name, field in one.model_fields.items()))


def _is_called(model: type[BaseModel], name: str, part: str) -> bool:
    return part in (name, model.model_fields[name].alias)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type names, within unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models_in(one)
