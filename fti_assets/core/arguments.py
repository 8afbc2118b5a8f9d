"""What a public function or class is called with: the names of its arguments and the kinds of their values.

Python's own error for a wrong name says neither which names there are nor which one was meant, and a text where a list belongs is
taken letter by letter. Every public declaration is checked here, before anything is made of it.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, ForwardRef, Literal, TypeVar, Union

from fti_assets.core.addresses import scrub
from fti_assets.errors import DeclarationError, excerpt, list_some, one_of, shorten

T = TypeVar("T")

_UNIONS = (Union, types.UnionType)
_MAPPINGS = (collections.abc.Mapping, dict)
_LISTS = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Set, list, set)
_WORDS: dict[Any, str] = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    type(None): "None",
}


@dataclass(frozen=True)
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

    def check(called: T) -> T:
        if isinstance(called, type):
            _check_calls_of_class(called, _Also(itself=tuple(itself), instead=instead))
            return called
        return _check_calls(called, _public(called), also, method=method)  # type: ignore[arg-type, return-value]

    return check


def checked_function(function: Any, *, over: str) -> None:
    """Raise a DeclarationError if what a decorator stands over is no function."""
    if not callable(function) or not hasattr(function, "__name__"):
        raise DeclarationError(f"@{over}(...) stands over {_brief(function)}: it takes a function, def name(...): ...")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(
            f"@{over}(...) stands over {function.__name__!r}, an async function, whose result nobody waits for: write def, and "
            "asyncio.run(...) in it if need be"
        )


def _brief(value: Any) -> str:
    shown = _repr(value)
    return shown if len(shown) <= 80 and "\n" not in shown else f"a {type(value).__name__}"


def _repr(value: Any) -> str:
    """A value as Python writes it, without secrets, whatever the value raises then."""
    try:
        text = repr(value)
    except Exception:
        text = excerpt(value)
    return scrub(shorten(text))


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
    made: Any = cls.__init__  # type: ignore[misc]
    # a dataclass's own ``__init__`` has the fields of its bases, whose annotations are to be read where they stand
    modules = {name: base.__module__ for base in reversed(cls.__mro__) for name in inspect.get_annotations(base)}
    cls.__init__ = _check_calls(made, _public(cls), replace(also, modules=modules), method=True)  # type: ignore[misc]


def _check_calls(function: Callable[..., Any], name: str, also: _Also, *, method: bool = False) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        own = arguments[1:] if method else arguments
        problem = next(_problems(function, signature, name, also, own, named, method=method), None)
        if problem is not None:
            raise DeclarationError(f"{name} is not called: write {also.instead}" if also.instead else problem)
        return function(*arguments, **named)

    return call


def _public(called: Any) -> str:
    module = "testing" if called.__module__.startswith("fti_assets.testing") else "fti"
    return f"{module}.{called.__qualname__}"


def _problems(
    function: Callable[..., Any],
    signature: inspect.Signature,
    name: str,
    also: _Also,
    arguments: tuple[Any, ...],
    named: Mapping[str, Any],
    *,
    method: bool,
) -> Iterator[str]:
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    by_name = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters) and not also.names
    unknown = [] if takes_any else [key for key in named if key not in by_name and key not in also.names]
    if unknown:
        yield _unknown(name, unknown[0], list(by_name), also)
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(arguments) > len(positional) and not any(one.kind is one.VAR_POSITIONAL for one in parameters):
        yield _too_many(name, arguments, positional, by_name)
    by_place = list(zip(positional, arguments, strict=False))
    twice = [one.name for one, _ in by_place if one.name in named and one.name in by_name]
    if twice:
        yield f"{name} is given {twice[0]!r} twice, by place and by name: leave out one of them"
    passed = {one.name for one, _ in by_place} | named.keys()
    absent = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and one.name not in passed
    ]
    if absent:
        yield (
            f"{name} needs {', '.join(f'{one}=' for one in absent)}, which "
            f"{'is' if len(absent) == 1 else 'are'} not given; it takes {_names(by_name)}"
        )
    if also.instead:  # the library makes it, of what was checked before
        return
    values = [(one.name, value, _annotated_type(one, function, also)) for one, value in by_place]
    values += [(key, named[key], _annotated_type(by_name[key], function, also)) for key in named if key in by_name]
    values += [(key, named[key], also.kind(key)) for key in named if key not in by_name]
    for key, value, kind in values:
        if key not in also.itself and not _fits(value, kind):
            yield _misfit(name, key, value, kind)


def _unknown(name: str, key: str, own: list[str], also: _Also) -> str:
    import difflib  # only who has something wrong waits for it

    close = difflib.get_close_matches(key, [*own, *also.names], n=1, cutoff=0.6)
    meant = f"did you mean {close[0]!r}? " if close else ""
    beside = f", and what {also.of} takes" if also.names else ""
    return f"{name} takes no {key!r}: {meant}It takes {_names(own)}{beside}" if own else f"{name} takes no {key!r}"


def _too_many(name: str, arguments: tuple[Any, ...], positional: list[Any], by_name: Mapping[str, Any]) -> str:
    first = next(iter(by_name), "")
    if not positional and inspect.isfunction(arguments[0]):
        needed = [key for key, one in by_name.items() if one.default is one.empty]
        filled = ", ".join(f"{key}=..." for key in needed)
        return f"@{name} takes its arguments in parentheses: write @{name}({filled}) over {arguments[0].__name__!r}"
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


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, as far as that can be told: of what is unclear it is."""
    if kind is Any or isinstance(kind, TypeVar | str):
        return True
    if kind is None or kind is type(None):
        return value is None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        return any(_fits(value, one) for one in arguments)
    if origin is Literal:
        return any(isinstance(value, type(one)) for one in arguments)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is type:
        return isinstance(value, type)
    if origin is tuple or origin in _LISTS:
        return _is_list(value) and (origin is tuple or not arguments or all(_fits(one, arguments[0]) for one in value))
    if origin in _MAPPINGS:
        return isinstance(value, Mapping) and all(
            _fits(key, arguments[0]) and _fits(one, arguments[1]) for key, one in (value.items() if arguments else ())
        )
    if kind in (int, float):  # numpy's numbers too
        return isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool)
    plain = origin or kind
    try:
        return not isinstance(plain, type) or isinstance(value, plain)
    except TypeError:  # a protocol, which an instance does not tell
        return True


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Iterator)


def _misfit(name: str, key: str, value: Any, kind: Any) -> str:
    shown, words = _brief(value), _words(kind)
    if isinstance(value, str) and not _fits(value, kind) and _fits([value], kind):
        return f"{name}: {key}={shown} is one text, and it takes {words}: write {key}=[{shown}]"
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        return f"{name}: {key} is the class {value.__name__} itself: give {words}, as in {key}={value.__name__}(...)"
    if not isinstance(value, str | Mapping) and not _is_list(value) and _fits([value], kind):
        return f"{name}: {key}={shown} stands alone, and it takes {words}: write {key}=[...]"
    inside = _first_misfit(value, kind)
    where = "" if inside is None else f", in which {inside[0]} does not fit{inside[1]}"
    is_plain = isinstance(value, str | bool | int | float | list | tuple | dict | type(None))
    what = "" if is_plain or shown != _repr(value) else f", a {type(value).__name__}"
    return f"{name}: {key} is {shown}{what}{where}; it takes {words}"


def _first_misfit(value: Any, kind: Any) -> tuple[str, str] | None:
    """What of a list or dict does not fit, and what to say of it."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)
    for one in kinds:
        arguments = typing.get_args(one)
        inner = arguments[-1] if arguments else Any
        if isinstance(value, Mapping) and typing.get_origin(one) in _MAPPINGS:
            items: Iterable[tuple[str, Any]] = ((f"{_repr(key)}: {_repr(item)}", item) for key, item in value.items())
        elif _is_list(value) and arguments and typing.get_origin(one) is not tuple:
            items = ((_repr(item), item) for item in value)
        else:
            continue
        for shown, item in items:
            if not _fits(item, inner):
                return shown, f" (write {item.__name__}(...))" if isinstance(item, type) else ""
    return None


def _words(kind: Any) -> str:
    """A kind in words: ``text or None``, ``a list of text``."""
    if kind is None or kind in _WORDS:
        return _WORDS[type(None) if kind is None else kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        words = list(dict.fromkeys(_words(one) for one in arguments))
        return " or ".join([*filter(None, [", ".join(words[:-1])]), words[-1]])
    if origin is Literal:
        return one_of(arguments)
    if origin is collections.abc.Callable:
        return "a function"
    if origin is type:
        return "a type"
    if origin in _MAPPINGS:
        return f"a dict of {_words(arguments[0])} to {_words(arguments[1])}" if arguments else "a dict"
    if origin is tuple:
        return f"a pair of {_words(arguments[0])}" if len(arguments) == 2 else "a tuple"
    if origin in _LISTS:
        return f"a list of {_words(arguments[0]).removeprefix('a ')}" if arguments else "a list"
    named = getattr(origin or kind, "__name__", str(kind))
    return f"{'an' if named[:1].lower() in 'aeiou' else 'a'} {named}"
