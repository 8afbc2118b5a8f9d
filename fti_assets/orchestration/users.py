"""Which views and models use an asset, as links on its page.

A declaration is made before those that use it, and its asset is built once, when a ``Definitions`` asks for it: until then
each user writes itself down here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import dagster as dg


class User(Protocol):
    """A declaration that has an asset."""

    @property
    def key(self) -> dg.AssetKey:
        """The asset's key."""


_users: WeakKeyDictionary[Any, dict[str, User]] = WeakKeyDictionary()


def record_use(used: Iterable[object], name: str, user: User) -> None:
    """Write down that ``user`` uses some declarations, as ``name`` on their pages, and by its own name too if that is taken."""
    for one in used:
        uses = _users.setdefault(one, {})
        taken = name in uses and uses[name].key != user.key
        uses[f"{name} in {user.key.to_user_string()}" if taken else name] = user


def links_to_users(declaration: object) -> dict[str, dg.MetadataValue]:
    """The metadata that leads to the users that a declaration has by now."""
    return {name: dg.MetadataValue.asset(user.key) for name, user in _users.get(declaration, {}).items()}
