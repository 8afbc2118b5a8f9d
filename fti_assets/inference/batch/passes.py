"""Builds that are joined in one pass: the union of what their views need, where their names mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, ModelManifest, OnDemandCall, ViewRecord
from fti_assets.errors import NotMaterializedError


@dataclass(frozen=True)
class Pass:
    """A view with the features of some builds, each once, and those builds."""

    view: ViewRecord
    builds: tuple[ModelManifest, ...]

    def takes(self, view: ViewRecord) -> bool:
        """Whether a view has the same spine, and every name that both have means the same in both."""
        own, others = _meanings(self.view), _meanings(view)
        same_spine = (self.view.identity, self.view.times) == (view.identity, view.times)
        return same_spine and all(others.get(name, meaning) == meaning for name, meaning in own.items())

    def with_build(self, build: ModelManifest) -> Pass:
        """This pass with what another build needs, whose view it takes."""
        return Pass(_union(self.view, build.view), (*self.builds, build))


def passes_of(builds: Sequence[ModelManifest], *, what: str) -> list[Pass]:
    """The passes in which some builds are joined: one, unless they learned from things that share a name, or from other spine times.

    Args:
        builds: of models whose views are declared over one spine.
        what: the predictions, for errors.

    Raises:
        NotMaterializedError: the builds learned from different versions of the spine.
    """
    spines = {build.view.spine_table.name: f"{build.model} {build.reference}" for build in builds}
    if len(spines) > 1:
        learned = "; ".join(f"{build} from {table}" for table, build in spines.items())
        raise NotMaterializedError(
            f"{what} cannot be answered in one row: its builds learned from different spines, {learned}. Materialize each model on the "
            "spine that its view has now"
        )
    passes: list[Pass] = []
    for build in builds:
        place = next((place for place, one in enumerate(passes) if one.takes(build.view)), None)
        if place is None:
            passes.append(Pass(build.view, (build,)))
        else:
            passes[place] = passes[place].with_build(build)
    return passes


def _meanings(view: ViewRecord) -> dict[str, object]:
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
    """What a call computes; where its meaning is told, not what else its modules hold."""
    return replace(call, module_sha256="", imports=()) if call.meaning else call


def _union(view: ViewRecord, other: ViewRecord) -> ViewRecord:
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
    )
