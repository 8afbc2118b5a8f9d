"""A description as readable text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TITLES = {
    "features": "FEATURES",
    "datasets": "TRAINING: datasets",
    "models": "TRAINING: models",
    "batch": "INFERENCE: batch",
    "online": "INFERENCE: online",
    "logs": "INFERENCE: prediction logs",
    "monitors": "MONITORING",
    "elsewhere": "OWNED BY OTHER CODE LOCATIONS",
    "alerts": "ALERTS",
    "others": "OTHER ASSETS",
}


def as_text(system: Mapping[str, Any]) -> str:
    """Write a description for people: a heading a pipeline, a block an asset, a line a fact.

    >>> print(as_text({"features": [{"asset": "weather_v1", "online": True, "keys": ["origin"]}]}))
    FEATURES
      weather_v1
        online       yes
        keys         origin
    """
    return "\n".join(_lines(system))


def _lines(system: Mapping[str, Any]) -> Iterator[str]:
    first = True
    for part, title in _TITLES.items():
        assets = system.get(part)
        if not assets:
            continue
        yield from ([title] if first else ["", title])
        first = False
        for facts in assets:
            yield f"  {facts['asset']}"
            for name, value in facts.items():
                if name != "asset" and value not in (None, "", []):
                    yield f"    {name.replace('_', ' '):<12} {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_text(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else " ".join(str(value).split())
