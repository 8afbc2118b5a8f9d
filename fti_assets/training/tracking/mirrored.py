"""What of a build and of a trial stands in a tracked run: parameters, metrics and tags, as any tracker has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fti_assets.core.manifest import ModelManifest, public_task
from fti_assets.core.manifest.learning import EpochRecord
from fti_assets.training.encoders.words import encoder_of
from fti_assets.training.tuning.study import Study, TrialRecord

BUILD = "fti.build"
"""The tag that names a run's build: ``delay_net/v1/20130501T000000Z-1f9ac3d2``."""

COMPLETE = "fti.complete"
"""The tag of a run that is mirrored as a whole."""

_LONGEST = 500
"""The characters of a parameter that every release of MLflow keeps."""


@dataclass(frozen=True)
class Mirrored:
    """A run to be tracked. ``steps`` are values of a metric by step."""

    name: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    steps: dict[str, dict[int, float]] = field(default_factory=dict)


def build_name(manifest: ModelManifest) -> str:
    """A build's name among those of all models."""
    return f"{manifest.model}/{manifest.reference}"


def mirrored_build(
    manifest: ModelManifest, config: Mapping[str, Any], card: str, history: Sequence[EpochRecord] = ()
) -> Mirrored:
    """The run of a build.

    Args:
        manifest: the build.
        config: the fields of the configs that its function got.
        card: its card, Markdown, which MLflow shows as the run's description.
        history: its epochs.
    """
    dataset, tuning = manifest.dataset, manifest.tuning
    of_build = {
        "task": public_task(manifest.task),
        "view": f"{manifest.view.name} v{manifest.view.version}",
        "dataset": f"{dataset.name} v{dataset.version}",
        "partition": dataset.partition,
        "cutoff": manifest.cutoff,
        "dataset_version": dataset.data_version,
        "snapshot": manifest.snapshot,
        "code_version": manifest.code_version,
        **{f"rows.{part}": count for part, count in dataset.rows.items()},
        **{f"encoder.{one.name}": encoder_of(manifest, one.name) for one in manifest.view.features},
    }
    tuned = (
        {} if tuning is None else {_free(name, "tuned", of_build): value for name, value in tuning.parameters.items()}
    )
    configured = {_free(name, "config", {**of_build, **tuned}): value for name, value in config.items()}
    parameters = {**configured, **tuned, **of_build}
    metrics = {
        **manifest.metrics,
        **{f"baseline/{name}": value for name, value in manifest.baseline.items()},
        **({} if tuning is None else {f"validation/{tuning.metric}": tuning.value}),
    }
    gates = {
        f"fti.gate.{gate.gate}": f"{'passed' if gate.passed else 'failed'}: {gate.reason}" for gate in manifest.gates
    }
    tags = {
        BUILD: build_name(manifest),
        "fti.model": manifest.model,
        "fti.version": str(manifest.version),
        "fti.status": manifest.status,
        "fti.graph_sha256": manifest.sha256,
        "fti.dagster_run": manifest.run_id,
        "fti.dagster_asset": "/".join(manifest.asset_key),
        **gates,
        **({"fti.warnings": "\n".join(manifest.warnings)} if manifest.warnings else {}),
        "mlflow.note.content": card,
    }
    return Mirrored(
        f"{manifest.model} {manifest.reference}",
        _texts(parameters),
        {_metric_name(name): value for name, value in metrics.items()},
        {name: text for name, text in tags.items() if text},
        _by_epoch(history),
    )


def mirrored_trial(study: Study, trial: TrialRecord) -> Mirrored:
    """The run of a trial, within that of its build."""
    tags = {
        "fti.trial": str(trial.number),
        "fti.trial_state": trial.state,
        "fti.seconds": f"{trial.seconds:g}",
        **({} if trial.same_as is None else {"fti.same_as": str(trial.same_as)}),
        **({"fti.error": trial.error} if trial.error else {}),
    }
    name = _metric_name(f"validation/{study.metric}")
    return Mirrored(
        f"trial {trial.number}",
        _texts(trial.parameters),
        {} if trial.value is None else {name: trial.value},
        tags,
        {"reported": {int(epoch): value for epoch, value in trial.reported.items()}} if trial.reported else {},
    )


def _metric_name(name: str) -> str:
    """What a metric is called in MLflow, which does not have a colon everywhere: that of a label lies under the metric."""
    return name.replace(":", "/")


def _by_epoch(history: Sequence[EpochRecord]) -> dict[str, dict[int, float]]:
    """Each metric's values by epoch; those of a second fit have its number in their name."""
    steps: dict[str, dict[int, float]] = {}
    for one in history:
        for name, value in one.metrics.items():
            steps.setdefault(f"epoch/{name}" if one.fit <= 1 else f"epoch.{one.fit}/{name}", {})[one.epoch] = value
    # MLflow refuses other letters in a name.
    return {re.sub(r"[^\w./ -]", "_", name): values for name, values in steps.items()}


def _free(name: str, kind: str, names: Mapping[str, Any]) -> str:
    """A name of the user's, or the name beside what is called so already."""
    return f"{kind}.{name}" if name in names else name


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: str(value) for name, value in values.items()}
    return {name: text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for name, text in texts.items() if text}
