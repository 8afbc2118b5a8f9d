"""Addresses as Dagster may show and record them, and the whole of them, with their passwords, in this process alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from fti_assets.core.addresses import show_address
from fti_assets.errors import StoreError

# The addresses with a password that this process was given, by what Dagster may show and record of them.
_whole: dict[str, str] = {}
_MARK = " and its password"


def without_secrets(at: Any) -> Any:
    """A location as Dagster may show it, in its pages and in the records of runs; the whole of it stays in memory."""
    if isinstance(at, Path):
        return str(at)
    if not isinstance(at, str) or isinstance(at, dg.EnvVar) or at in _whole or _MARK in at or show_address(at) == at:
        return at
    return _shown(at, show_address(at))


def without_path(at: Any) -> Any:
    """An address as ``without_secrets``, of which the scheme alone is shown: any other part of it may be a token."""
    if not isinstance(at, str) or isinstance(at, dg.EnvVar) or at in _whole or "://" not in at:
        return at
    return _shown(at, f"{at.partition('://')[0]}://***")


def _shown(at: str, text: str) -> str:
    number = 1  # two addresses that differ in their passwords alone are told apart by it
    while _whole.setdefault(alias := f"{text}{_MARK}{number if number > 1 else ''}", at) != at:
        number += 1
    return alias


def whole_address(at: str | None) -> str | None:
    """The whole of a location.

    Raises:
        StoreError: it is that of another process.
    """
    if at is not None and at not in _whole and _MARK in at:
        raise StoreError(
            f"{at!r} names an address whose password this process was not given: give the whole address, or dg.EnvVar of it"
        )
    return None if at is None else _whole.get(at, at)
