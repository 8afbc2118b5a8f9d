"""Views as one: the union of what they need, where their names mean the same."""

from __future__ import annotations

from dataclasses import replace

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, OnDemandCall, ViewRecord
from fti_assets.core.on_demand.call import check_source
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.errors import DeclarationError, PredictionError


def meanings_of(view: ViewRecord) -> dict[str, object]:
    """What each column means that a view has once it is joined; DuckDB takes names of other case for the same."""
    meanings: dict[str, object] = {name.lower(): name for name in view.identity}
    meanings |= {column.name.lower(): column for column in view.request}
    for join in view.joins:
        meanings |= {column.feature.lower(): (_rows(join), column) for column in join.columns}
    for call in view.on_demand:
        meanings |= {output.name.lower(): (_function(call), output) for output in call.outputs}
    return meanings


def _rows(join: JoinedGroup) -> JoinedGroup:
    """Which rows a join finds, whatever columns it takes of them."""
    return replace(join, columns=())


def _function(call: OnDemandCall) -> OnDemandCall:
    """What a call computes; where its meaning is told, not what else its modules hold.

    Releases tell meanings by hashes of their own. Of two that both fit the source that is here, as a predictor compares them, either
    is that source's.
    """
    try:
        check_source(call)
        known_meaning = meaning(call.module, call.function, [one.package for one in call.requires])
    except (PredictionError, DeclarationError):
        known_meaning = call.meaning
    return replace(call, module_sha256="", imports=(), meaning=known_meaning) if known_meaning else call


def same_spine(view: ViewRecord, other: ViewRecord) -> bool:
    """Whether two views find their rows alike: by the same keys and times."""
    return (view.identity, view.times) == (other.identity, other.times)


def clashes(view: ViewRecord, other: ViewRecord) -> list[str]:
    """The names that two views have and that mean something else in each."""
    own, others = meanings_of(view), meanings_of(other)
    return [name for name, meaning in own.items() if others.get(name, meaning) != meaning]


def union_of(view: ViewRecord, other: ViewRecord) -> ViewRecord:
    """The first view with what the second one needs besides; of equal spines and names."""
    joins: dict[JoinedGroup, dict[JoinedColumn, None]] = {}
    for join in (*view.joins, *other.joins):
        joins.setdefault(_rows(join), {}).update(dict.fromkeys(join.columns))
    calls = {_function(call): call for call in (*view.on_demand, *other.on_demand)}
    return replace(
        view,
        request=tuple(dict.fromkeys((*view.request, *other.request))),
        joins=tuple(replace(join, columns=tuple(columns)) for join, columns in joins.items()),
        on_demand=tuple(calls.values()),
        features=tuple(dict.fromkeys((*view.features, *other.features))),
        rules=tuple({repr(rule): rule for rule in (*view.rules, *other.rules)}.values()),  # arguments have no hash
        rules_left_out=tuple(dict.fromkeys((*view.rules_left_out, *other.rules_left_out))),
    )
