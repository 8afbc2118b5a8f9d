"""What the step of a composite does: a build at each cutoff, of the builds that its models have by then."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from fti_assets.orchestration.conditions.partition_conditions import CHAMPION_AFTER_RUN, NO_CHAMPION
from fti_assets.orchestration.materialization import one_materialized
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.files import read_file
from fti_assets.training.composites.build import build_composite_at
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.run import code_version_of
from fti_assets.training.models.champions.promotion import withheld
from fti_assets.training.models.events import of_other_assets


def run_composite(composite: Composite, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[object]:
    """Build at each cutoff, in their order; each is published, promoted and reported before the next one is begun."""
    store, key = stores.model_store(), context.assets_def.key
    partitions = running_partitions(context)
    for partition in partitions:
        manifest = build_composite_at(
            composite,
            partition.key,
            None if partition.start is None else partition.start.isoformat(),
            store,
            code_version=code_version_of(context),
            run_id=context.run.run_id,
            asset_key=key.path,
        )
        assert manifest.composite is not None  # a composite's build says what it is made of
        builds = {member.model: member.build for member in manifest.composite.members}
        context.log.info(
            f"{composite.name} {manifest.reference} is made of {', '.join(f'{m} {b}' for m, b in builds.items())}"
        )
        folder = store.folder(manifest)
        metadata = {
            "build": manifest.reference,
            CHAMPION_AFTER_RUN: store.aliases(composite.name).champion or NO_CHAMPION,
            **{f"model/{model}": build for model, build in builds.items()},
            **{f"test/{name}": value for name, value in manifest.metrics.items()},
            "card": dg.MetadataValue.md((read_file(folder / "card.md") or b"").decode(errors="replace")),
            "dagster/uri": str(folder),
        }
        if reason := withheld(composite.promote, store.aliases(composite.name).champion, manifest):
            metadata["promotion"] = reason
        if len(partitions) > 1:
            yield one_materialized(context, partition.key, manifest.build, metadata)
        else:
            yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(manifest.build))
        yield from of_other_assets(store, key, manifest)
