"""What the step of a model does: a build at each cutoff, in the order of time, each with its own verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import NoneType
from typing import Any
from uuid import uuid4

import dagster as dg

from fti_assets.core.functions import value_text
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import WHOLE
from fti_assets.errors import ModelError
from fti_assets.orchestration.checks import refusal
from fti_assets.orchestration.materialization import one_materialized
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.signature import call_function
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.run import code_version_of
from fti_assets.training.models.build import build_model_at
from fti_assets.training.models.champions.promotion import withheld
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.events import (
    build_evaluations,
    build_metadata,
    build_results,
    check_outputs,
    failure_reasons,
    of_other_assets,
    rejection,
)
from fti_assets.training.models.model import Model
from fti_assets.training.sources import function_hash
from fti_assets.training.tracking.mlflow_runs import Tracker, mirrored_or_why_not
from fti_assets.training.trainer.fits.checkpoints import checkpoint_folder
from fti_assets.training.trainer.fits.progress import Progress
from fti_assets.training.triggers.retraining import asked_by
from fti_assets.training.tuning.trial import Trial

SEED = "fti/seed"
"""The tag of a run that says with which seed it trains, 0 by default."""


def run_model(
    model: Model, context: dg.AssetExecutionContext, stores: Stores, arguments: Mapping[str, Any]
) -> Iterator[Any]:
    """Build at each cutoff; a rejected build is kept in the store and not materialized, but observed.

    Each build is reported before the next one is begun: what is published and promoted stays so if a later one raises.
    """
    store, key = stores.model_store(), context.assets_def.key
    partitions = running_partitions(context)
    is_range = len(partitions) > 1
    # Of a range, if only of one, Dagster would leave the partition out of what its checks say.
    names_partitions = partitions[0].key != WHOLE and not context.has_partition_key

    def train(data: TrainingData, trial: Trial | None) -> Any:
        alone = f"run one cutoff at a time (--partition {partitions[0].key})"
        inputs = {**arguments, **model.own_arguments(data, trial)}
        return call_function(model.function, inputs, context, what=model.asset_name, instead=alone)

    config = _config_text(context, arguments)
    rejections: list[ModelManifest] = []
    with stores.offline_store().connect() as lake:
        for partition in partitions:
            with _progress(model, partition.key, context, lake, store, config) as progress:
                build = build_model_at(
                    model,
                    partition.key,
                    lake,
                    store,
                    train,
                    code_version=code_version_of(context),
                    run_id=context.run.run_id,
                    asset_key=key.path,
                    log=context.log.info,
                    warn=context.log.warning,
                    progress=progress,
                    config=config,
                    because=asked_by(context.run),
                )
            manifest, metadata = build.manifest, build_metadata(model, store, build)
            if stores.tracking is not None:
                tracking = stores.tracking
                tracker = Tracker(tracking.address, tracking.experiment, tracking.artifact_address)
                place = mirrored_or_why_not(
                    tracker, store, manifest, _config_fields(arguments), warn=context.log.warning
                )
                metadata["tracking"] = dg.MetadataValue.url(place) if place.startswith("http") else place
            with_uri = {**metadata, "dagster/uri": str(store.folder(manifest))}
            log = context.log.info if build.is_accepted else context.log.warning
            log(f"{model.name} {manifest.reference} is {manifest.status}: {failure_reasons(manifest)}")
            for warning in manifest.warnings:
                context.log.warning(f"{model.name} {manifest.reference}: {warning}")
            if (
                reason := withheld(model.promote, store.aliases(model.name).champion, manifest)
                if build.is_accepted
                else ""
            ):
                context.log.info(f"{model.name} {manifest.reference} {reason}")
                with_uri["promotion"] = reason
            if not build.is_accepted:
                rejections.append(manifest)
                yield rejection(key, None if partition.key == WHOLE else partition.key, manifest, metadata)
            elif is_range:
                yield one_materialized(context, partition.key, manifest.build, with_uri)
            else:
                yield dg.MaterializeResult(metadata=with_uri, data_version=dg.DataVersion(manifest.build))
            yield from of_other_assets(store, key, manifest)
            if names_partitions:
                yield from build_evaluations(model, context, partition.key, manifest)
            else:
                yield from build_results(model, key, manifest)
    if names_partitions:
        yield from check_outputs(model, context)
    if rejections and model.gates_fail_run:
        champion = store.aliases(model.name).champion
        stays = f"the champion stays {champion}" if champion else "there is still no champion"
        raise refusal(
            "\n".join(
                f"{model.name} {build.reference} is rejected, because {failure_reasons(build)}. It is kept in the model store, "
                f"and {stays}"
                for build in rejections
            )
        )


@contextmanager
def _progress(
    model: Model, partition: str, context: dg.AssetExecutionContext, lake: Lake, store: ModelStore, config: str
) -> Iterator[Progress]:
    """The progress of one build: in the run's log, with the run's seed, and with checkpoints beside the model's builds."""
    seed = _seed(context.run.tags)
    ledger = lake.ledger(model.dataset.table)
    rows = ledger[partition].data_version if partition in ledger else ""
    with checkpoint_folder(
        store.working_folder(model.name),
        partition,
        model.asset_name,
        code_version_of(context),
        function_hash(model.function),
        rows,
        seed,
        config,
        say=context.log.warning,
    ) as folder:
        yield Progress(seed, context.log.info, folder)


def _seed(tags: Mapping[str, str]) -> int:
    """The seed of a run.

    Raises:
        ModelError: the tag is no whole number.
    """
    text = tags.get(SEED, "0")
    if not text.isdecimal() or int(text) >= 2**63:
        raise ModelError(f"the run has the tag {SEED}={text!r}: give a whole number from 0 to 2**63 - 1")
    return int(text)


def _config_text(context: dg.AssetExecutionContext, arguments: Mapping[str, Any]) -> str:
    """What is another text if the run's config, a default of the function's own, or a field of a resource that it takes is another one.

    A resource that cannot be put into words is never the same.
    """
    resources = {name: one for name, one in arguments.items() if not isinstance(one, dg.Config) or _is_resource(one)}
    words = {name: value_text(_held_by(one), lambda _: uuid4().hex) for name, one in resources.items()}
    config = [_plain(context.run.run_config), _plain(_config_fields(arguments)), *([words] if words else [])]
    return json.dumps(config, sort_keys=True, default=repr)


def _plain(value: Any) -> Any:
    """What JSON writes alike in each process: sets in order, and keys of several kinds, which cannot be sorted, as Python writes them."""
    if isinstance(value, Mapping):
        kinds = {*map(type, value)}
        is_sorted = kinds <= {int, float, bool} or kinds in ({str}, {NoneType})
        return {key if is_sorted else repr(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else value


def _config_fields(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the configs that a function got."""
    configs = [one for one in arguments.values() if isinstance(one, dg.Config) and not _is_resource(one)]
    return {name: value for config in configs for name, value in config.model_dump().items()}


def _is_resource(argument: Any) -> bool:
    return isinstance(argument, dg.ConfigurableResource)


def _held_by(argument: Any) -> Any:
    """What an argument holds: of a resource its class and fields, beside which Dagster keeps a state of its own."""
    if not _is_resource(argument):
        return argument
    return type(argument), {name: getattr(argument, name) for name in type(argument).model_fields}
