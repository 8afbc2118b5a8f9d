"""What a public function or class is called with: the names of its arguments and the kinds of their values.

Python's own error for a wrong name says neither which names there are nor which one was meant, and a text where a list belongs is
taken letter by letter. Every public declaration is checked here, before anything is made of it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from types import FrameType
from typing import Any, ForwardRef, TypeVar, Union

from fti_assets.core.arguments.kinds import as_own, brief, culprit, emptiness, fits, misfit, plain, words_of
from fti_assets.core.records import record
from fti_assets.errors import DeclarationError, FtiError, class_name, excerpt, list_some

T = TypeVar("T")

_MAY_BE_EMPTY = frozenset({"description", "tokens"})
"""The arguments whose texts may be empty, or are looked at where more can be said of them."""


@record(frozen=True)
class _Also:
    """Keywords that ``**options`` take, and whose they are; the modules of a class's fields."""

    names: tuple[str, ...] = ()
    of: str = ""
    kinds: Any = None
    itself: tuple[str, ...] = ()
    instead: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)

    def kind(self, name: str) -> Any:
        """What the ``TypedDict`` says of a keyword."""
        annotation = getattr(self.kinds, "__annotations__", {}).get(name, Any)
        if not isinstance(annotation, ForwardRef):
            return annotation
        return _evaluate(annotation.__forward_arg__, annotation.__forward_module__ or "")


def checked_arguments(
    *,
    options: type | Iterable[str] = (),
    of: str = "@dg.asset",
    itself: Collection[str] = (),
    method: bool = False,
    instead: str = "",
) -> Callable[[T], T]:
    """Have a function or class say in the library's words what is wrong with the arguments that it is called with.

    Args:
        options: the keywords that its ``**options`` take, as names or as a ``TypedDict``; without them it takes any.
        of: whose keywords those are, for errors.
        itself: the arguments whose values the function checks itself, and says more of.
        method: whether its first argument is the object that it is a method of.
        instead: what makes an object of a class that nobody makes by calling it.
    """
    names: Any = getattr(options, "__annotations__", options)
    also = _Also(tuple(names), of, options, tuple(itself))

    def check(target: T) -> T:
        if isinstance(target, type):
            _check_calls_of_class(target, _Also(itself=tuple(itself), instead=instead))
            return target
        return _check_calls(target, _public(target), also, method=method)  # type: ignore[arg-type, return-value]

    return check


def checked_function(function: Any, *, over: str) -> None:
    """Raise a DeclarationError if what a decorator stands over is no function."""
    if not callable(function) or not hasattr(function, "__name__"):
        raise DeclarationError(f"@{over}(...) stands over {brief(function)}: it takes a function, def name(...): ...")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(
            f"@{over}(...) stands over {function.__name__!r}, an async function, whose result is never awaited: write def, and "
            "asyncio.run(...) in it if need be"
        )


def caller_frame() -> FrameType | None:
    """The frame of whoever called the public function that asks; the checks between the two do not count."""
    frame = inspect.currentframe()
    for _ in range(2):  # out of this module to the public function, and out of its own checks to its caller
        while frame is not None and frame.f_globals is globals():
            frame = frame.f_back
        asker, frame = frame, None if frame is None else frame.f_back
    return asker


def caller_names() -> dict[str, Any]:
    """The local names of whoever called the public function that asks."""
    frame = caller_frame()
    return {} if frame is None else dict(frame.f_locals)


def _check_calls_of_class(cls: type, also: _Also) -> None:
    init: Any = cls.__init__  # type: ignore[misc]
    # a dataclass's own ``__init__`` has the fields of its bases, whose annotations are to be read where they stand
    modules = {name: base.__module__ for base in reversed(cls.__mro__) for name in inspect.get_annotations(base)}
    cls.__init__ = _check_calls(init, _public(cls), replace(also, modules=modules), method=True)  # type: ignore[misc]


def _check_calls(function: Callable[..., Any], name: str, also: _Also, *, method: bool = False) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        own = arguments[1:] if method else arguments
        problem = next(_problems(signature, name, also, own, keywords, method=method), None)
        if problem is not None:
            raise DeclarationError(f"{name} is not called: write {also.instead}" if also.instead else problem)
        if also.instead:  # the library makes it, of what was checked before
            return function(*arguments, **keywords)
        by_place, by_name = _judge(function, signature, name, also, own, keywords, method=method)
        values = [
            *zip(signature.parameters, [*arguments[: len(arguments) - len(own)], *by_place], strict=False),
            *by_name.items(),
        ]
        with _blame(name, values):
            result = function(*arguments[: len(arguments) - len(own)], *by_place, **by_name)
        return (
            _blaming(result, name, values)
            if inspect.isfunction(result) and "<locals>" in result.__qualname__
            else result
        )

    return call


def _blaming(function: Callable[..., Any], name: str, values: Sequence[tuple[str, Any]]) -> Callable[..., Any]:
    """What a decorator gave, which looks at the decorator's arguments when it is called."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        with _blame(name, values):
            return function(*arguments, **keywords)

    return call


@contextmanager
def _blame(name: str, values: Sequence[tuple[str, Any]]) -> Iterator[None]:
    """Say of which argument an error is that comes from the class of its value, such as one that cannot be compared."""
    try:
        yield
    except FtiError:
        raise
    except Exception as error:
        pair = culprit(error, values)
        if pair is None:
            raise
        raise DeclarationError(_unusable(name, *pair, error)) from error


def _unusable(name: str, key: str, value: Any, error: Exception) -> str:
    return f"{name}: {key} is {brief(value)}, which cannot be used, since it raises {class_name(error)}: {excerpt(str(error), 200)}"


def _judge(
    function: Callable[..., Any],
    signature: inspect.Signature,
    name: str,
    also: _Also,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    *,
    method: bool,
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments by place and by name, each of its kind, as Python's own values.

    Raises:
        DeclarationError: one is of another kind, or cannot be looked at.
    """
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    by_name = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]

    def judge(key: str, value: Any, kind: Any) -> Any:
        if key in also.itself:
            return as_own(value)
        try:
            if not fits(value, kind):
                raise DeclarationError(misfit(name, key, value, kind))
            own = plain(value, kind)
            empty = None if key in _MAY_BE_EMPTY else emptiness(name, key, own, kind)
            if empty is not None:
                raise DeclarationError(empty)
            return own
        except FtiError:
            raise
        except Exception as error:  # of the value's own class
            takes = "" if kind is Any else f"; it takes {words_of(kind)}"
            raise DeclarationError(f"{_unusable(name, key, value, error)}{takes}") from error

    further = [one for one in parameters if one.kind is one.VAR_POSITIONAL] * len(arguments)
    of_any_name = {} if also.names else {one.kind: one for one in parameters if one.kind is one.VAR_KEYWORD}

    def kind_of(key: str) -> Any:
        parameter = by_name.get(key, of_any_name.get(inspect.Parameter.VAR_KEYWORD))
        return also.kind(key) if parameter is None else _annotated_type(parameter, function, also)

    kinds = {key: kind_of(key) for key in keywords}
    by_place = zip([*positional, *further], arguments, strict=False)
    return (
        [judge(one.name, value, _annotated_type(one, function, also)) for one, value in by_place],
        {key: judge(key, value, kinds[key]) for key, value in keywords.items()},
    )


def _public(target: Any) -> str:
    module = "testing" if target.__module__.startswith("fti_assets.testing") else "fti"
    return f"{module}.{target.__qualname__}"


def _problems(
    signature: inspect.Signature,
    name: str,
    also: _Also,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    *,
    method: bool,
) -> Iterator[str]:
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    by_name = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters) and not also.names
    unknown = [] if takes_any else [key for key in keywords if key not in by_name and key not in also.names]
    if unknown:
        yield _unknown(name, unknown[0], list(by_name), also)
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(arguments) > len(positional) and not any(one.kind is one.VAR_POSITIONAL for one in parameters):
        yield _too_many(name, arguments, positional, by_name)
    by_place = list(zip(positional, arguments, strict=False))
    twice = [one.name for one, _ in by_place if one.name in keywords and one.name in by_name]
    if twice:
        yield f"{name} is given {twice[0]!r} twice, by place and by name: leave out one of them"
    names_there = {one.name for one, _ in by_place} | keywords.keys()
    absent = [
        one.name
        for one in parameters
        if one.default is one.empty
        and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        and one.name not in names_there
    ]
    if absent:
        yield (
            f"{name} needs {', '.join(f'{one}=' for one in absent)}, which "
            f"{'is' if len(absent) == 1 else 'are'} not given; it takes {_names(by_name)}"
        )


def _unknown(name: str, key: str, own: list[str], also: _Also) -> str:
    import difflib  # only who has something wrong waits for it

    close = difflib.get_close_matches(key, [*own, *also.names], n=1, cutoff=0.6)
    advice = f"did you mean {close[0]!r}? " if close else ""
    beside = f", and what {also.of} takes" if also.names else ""
    return f"{name} takes no {key!r}: {advice}It takes {_names(own)}{beside}" if own else f"{name} takes no {key!r}"


def _too_many(name: str, arguments: tuple[Any, ...], positional: list[Any], by_name: Mapping[str, Any]) -> str:
    first = next(iter(by_name), "")
    if not positional and inspect.isfunction(arguments[0]):
        required_names = [key for key, one in by_name.items() if one.default is one.empty]
        example = ", ".join(f"{key}=..." for key in required_names)
        return f"@{name} takes its arguments in parentheses: write @{name}({example}) over {arguments[0].__name__!r}"
    if not positional:
        takes = f"; it takes {_names(by_name)}" if by_name else ""
        return f"{name} takes its arguments by name, as in {name}({first or 'name'}=...){takes}"
    return (
        f"{name} takes {len(positional)} arguments by place ({_names(one.name for one in positional)}), not "
        f"{len(arguments)}: give the others by name"
    )


def _names(names: Iterable[str]) -> str:
    return list_some(names, limit=30)


def _annotated_type(parameter: inspect.Parameter, function: Callable[..., Any], also: _Also) -> Any:
    """A parameter's annotation as the type that it names; ``Any`` for one that is imported for type checkers alone."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return Any
    module = also.modules.get(parameter.name, function.__module__)
    return _evaluate(annotation, module) if isinstance(annotation, str) else annotation


def _evaluate(annotation: str, module: str) -> Any:
    # Not typing.get_type_hints, which fails as a whole over one name that is imported for type checkers alone.
    names = {**(vars(sys.modules[module]) if module in sys.modules else {}), "__builtins__": __builtins__}
    # As a whole; else in parts, since `"Frame" | None` with a class that is text there is no union that Python can make.
    for parts in ([annotation], annotation.split("|") if "[" not in annotation else []):
        try:
            kinds = tuple(eval(part.strip(), names) for part in parts)
            return Union[kinds] if kinds else Any  # noqa: UP007
        except (NameError, AttributeError, TypeError):
            continue
    return Any
