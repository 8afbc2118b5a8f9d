"""In what two builds differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import record
from fti_assets.errors import list_phrases, list_some
from fti_assets.stores.models.builds.facts import SECTIONS, fact_text, facts_of


@record(frozen=True)
class Difference:
    """One thing that two builds have otherwise; None where a build does not have it."""

    section: str
    name: str
    first: Any
    second: Any

    def __str__(self) -> str:
        if self.first is None or self.second is None:
            word, value = ("added", self.second) if self.first is None else ("removed", self.first)
            return f"{self.name}: {word}, {fact_text(value)}"
        if isinstance(self.first, list | tuple) and isinstance(self.second, list | tuple):
            return f"{self.name}: {_list_difference(self.first, self.second)}"
        if isinstance(self.first, float) and isinstance(self.second, float):
            return f"{self.name}: {self.first:.6g} -> {self.second:.6g} ({self.second - self.first:+.3g})"
        return f"{self.name}: {fact_text(self.first)} -> {fact_text(self.second)}"


def differences(first: ModelManifest, second: ModelManifest) -> list[Difference]:
    """In what a second build differs from a first, by section and then in the order of what they are.

    >>> [str(one) for one in differences(before, after) if one.section == "metrics"]  # doctest: +SKIP
    ['test roc_auc: 0.7512 -> 0.7575 (+0.0063)']
    """
    one, other = facts_of(first), facts_of(second)
    return [
        difference for section in SECTIONS for difference in _section_differences(section, one[section], other[section])
    ]


def lines_of(results: Sequence[Difference]) -> list[str]:
    """The differences of one section as lines: those of encoders that say the same of several features together.

    Of a feature whose encoder is of another kind, the kind alone is told: what the one has and the other has not follows from it.

    >>> lines_of([Difference("encoders", f"{name}.kind", "passthrough", "standardize") for name in ("age", "income", "rate")])
    ['age, income and rate.kind: passthrough -> standardize']
    """
    result: dict[tuple[str, str], list[str]] = {}
    replaced = {_feature_of(one) for one in results if one.section == "encoders" and one.name.endswith(".kind")}
    for one in results:
        feature, text = _feature_of(one), str(one)
        if one.section != "encoders" or not feature:
            result.setdefault((text, ""), [])
        elif feature not in replaced or one.name == f"{feature}.kind" or None not in (one.first, one.second):
            result.setdefault(("", text.removeprefix(feature)), []).append(feature)
    return [whole or f"{list_phrases(features)}{rest}" for (whole, rest), features in result.items()]


def _feature_of(one: Difference) -> str:
    """The feature whose encoder a difference is of."""
    return one.name.rpartition(".")[0]


def _section_differences(section: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys([*one, *other])
    return [
        Difference(section, name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)
    ]


def _list_difference(first: Sequence[Any], second: Sequence[Any]) -> str:
    more = [value for value in second if value not in first]
    less = [value for value in first if value not in second]
    parts = [f"added {list_some(more)}"] if more else []
    parts += [f"removed {list_some(less)}"] if less else []
    return "; ".join(parts) or "the same in another order"
