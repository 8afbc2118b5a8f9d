"""A fitted encoder of a manifest in a few words, for cards."""

from collections.abc import Mapping, Sequence
from typing import Any

from fti_assets.core.manifest import ModelManifest

_EXAMPLES = 3


def encoder_in_words(encoder: Mapping[str, Any]) -> str:
    """The kind of a fitted encoder, and what it was fitted to.

    >>> encoder_in_words({"kind": "standardize", "mean": 3.25, "std": 2.0, "dtype": "float32"})
    'standardize: mean 3.25, std 2'
    >>> encoder_in_words({"kind": "one_hot", "categories": ["EWR", "JFK", "LGA", "TEB"]})
    'one_hot: 4 categories (EWR, JFK, LGA and more)'
    """
    kind = str(encoder.get("kind", ""))
    facts = [_fact(name, value) for name, value in encoder.items() if name not in ("kind", "by_model", "code")]
    words = ", ".join(fact for fact in facts if fact)
    return f"{kind}: {words}" if words else kind


def encoder_of(manifest: ModelManifest, feature: str) -> str:
    """What encodes a feature of a build; empty if its manifest does not say."""
    encoder = manifest.encoders.get(feature)
    return encoder_in_words(encoder) if isinstance(encoder, Mapping) else ""


def _fact(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{name} of {len(value)} entries"
    if value is None or value == "float32":  # which every encoder is, unless it says otherwise
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and isinstance(value[0], Sequence) and not isinstance(value[0], str):
            return ""  # a table beside its categories
        examples = ", ".join(map(_text, value[:_EXAMPLES])) + (" and more" if len(value) > _EXAMPLES else "")
        return f"{len(value)} {name} ({examples})" if value else f"no {name}"
    return f"{name} {_text(value)}"


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
