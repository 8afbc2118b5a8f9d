"""Builds that are joined in one pass: the union of what their views need, where their names mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fti_assets.core.manifest import ModelManifest, ViewRecord
from fti_assets.errors import NotMaterializedError
from fti_assets.training.views.union import clashes, same_spine, union_of


@dataclass(frozen=True)
class Pass:
    """A view with the features of some builds, each once, and those builds."""

    view: ViewRecord
    builds: tuple[ModelManifest, ...]

    def takes(self, view: ViewRecord) -> bool:
        """Whether a view has the same spine, and every name that both have means the same in both."""
        return same_spine(self.view, view) and not clashes(self.view, view)

    def with_build(self, build: ModelManifest) -> Pass:
        """This pass with what another build needs, whose view it takes."""
        return Pass(union_of(self.view, build.view), (*self.builds, build))


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
        origins = "; ".join(f"{build} from {table}" for table, build in spines.items())
        raise NotMaterializedError(
            f"{what} cannot be answered in one row: its builds learned from different spines, {origins}. Materialize each model on the "
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
