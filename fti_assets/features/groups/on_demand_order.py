"""On-demand functions in the order in which they can run: each after those whose outputs it takes."""

from __future__ import annotations

from collections.abc import Sequence

from fti_assets.errors import DeclarationError, listed
from fti_assets.features.groups.on_demand import OnDemand


def in_order(functions: Sequence[OnDemand], *, what: str) -> list[OnDemand]:
    """Put functions behind those that they rest on; else they keep the order in which they are listed.

    Args:
        functions: in any order.
        what: who lists them, for errors.

    Raises:
        DeclarationError: some of them wait for each other.

    >>> import numpy as np
    >>> from fti_assets.features.groups.on_demand import on_demand
    >>> @on_demand(outputs={"price": float})
    ... def price(speed: np.ndarray) -> dict[str, np.ndarray]: ...
    >>> @on_demand(outputs={"speed": float})
    ... def speed(distance: np.ndarray) -> dict[str, np.ndarray]: ...
    >>> [function.name for function in in_order([price, speed], what="view 'trips'")]
    ['speed', 'price']
    """
    makers = {output.name: function for function in functions for output in function.outputs}
    waiting, ordered = list(functions), list[OnDemand]()
    while waiting:
        made = {output.name for function in ordered for output in function.outputs}
        ready = next((one for one in waiting if all(name in made for name in one.inputs if name in makers)), None)
        if ready is None:
            raise DeclarationError(
                f"{what}: {'; '.join(_waits(one, makers) for one in _circle(waiting, makers))}: so none of them can be the "
                "first; give one of them an input of the request or of a feature group instead"
            )
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def _circle(waiting: Sequence[OnDemand], makers: dict[str, OnDemand]) -> list[OnDemand]:
    """The functions that wait for each other, without those that only wait for them."""
    path = [waiting[0]]
    while True:
        following = next(makers[name] for name in path[-1].inputs if name in makers and makers[name] in waiting)
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _waits(function: OnDemand, makers: dict[str, OnDemand]) -> str:
    taken = [name for name in function.inputs if name in makers]
    of = dict.fromkeys(makers[name].name for name in taken)
    return f"on-demand feature {function.name!r} takes {listed(taken)} of {listed(of)}"
