"""What is computed when it is first asked for, and then known."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

Owner = TypeVar("Owner")
P = ParamSpec("P")
T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - read as a decorator
    """An attribute that its method computes once, as ``functools.cached_property`` does, but without a lock.

    Python 3.11 holds one lock for all objects of a class while it computes: a process that is forked meanwhile waits for it for
    ever. Here two threads may both compute, and the last one's result stays.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


def once(compute: Callable[Concatenate[Owner, P], T]) -> Callable[Concatenate[Owner, P], T]:
    """A function of an object, and of nodes and texts, that is computed once for each: the object keeps the result."""
    name = f"once {compute.__qualname__}"

    @wraps(compute)
    def call(owner: Owner, /, *arguments: P.args, **words: P.kwargs) -> T:
        results: dict[tuple[Any, ...], T] = vars(owner).setdefault(name, {})
        if arguments not in results:
            results[arguments] = compute(owner, *arguments, **words)
        return results[arguments]

    return call
