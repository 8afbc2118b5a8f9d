"""A description as readable text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fti_assets.errors import count_of

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
                    yield f"    {name.replace('_', ' '):<12} {_encoders_text(value) if name == 'encoders' else _text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_text(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else " ".join(str(value).split())


def _encoders_text(encoders: Mapping[str, str]) -> str:
    """The encoders that are declared by feature, and of how many features there is none but the default.

    >>> _encoders_text({"origin": "OneHot()", "seats": "Standardize() by default", "year": "Standardize() by default"})
    'origin OneHot(); Standardize() by default of 2 features'
    """
    declared = {name: one for name, one in encoders.items() if not one.endswith(" by default")}
    defaults = [one for name, one in encoders.items() if name not in declared]
    counts = [f"{one} of {count_of(defaults.count(one), 'feature')}" for one in dict.fromkeys(defaults)]
    return "; ".join([*filter(None, [_text(declared)]), *counts])
