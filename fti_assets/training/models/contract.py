"""What the owner of a model promises of it, beside what the manifest of a build says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from fti_assets.core.manifest.contracts import DatasetContract, LabelContract, ModelContract
from fti_assets.core.records import to_sparse_json
from fti_assets.core.times import microseconds
from fti_assets.features.published.contract import release
from fti_assets.features.published.partitions import partitions_record
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.models.model import Model, Servable


def contract_file(model: Servable, feeds: Mapping[str, str] | None = None) -> bytes:
    """The contract of a model or a composite, as it lies in each of its builds.

    Args:
        model: whose it is.
        feeds: of a composite the fields that answers of its models fill, and whose answers.
    """
    return to_sparse_json(_contract_of(model, feeds or {})).encode()


def _contract_of(model: Servable, feeds: Mapping[str, str]) -> ModelContract:
    labels = model.view.labels
    return ModelContract(
        model=model.name,
        version=model.version,
        asset_key=tuple(model.key.path),
        task=model.task,
        dataset=_dataset(model.dataset) if isinstance(model, Model) else None,
        labels=tuple(
            LabelContract(
                name=name,
                group=label.group.name,
                version=label.group.version,
                column=label.name,
                spine_keys=dict(label.column.spine_keys),
                maturity_us=microseconds(label.age),
                within_us=_us(label.horizon),
                missing=label.missing,
            )
            for name, label in labels.items()
        ),
        several_labels=model.view.has_several_labels,
        partitions=partitions_record(model.partitions_def),
        promote=model.promote,
        catch_up=model.catch_up,
        latency_goal_us=_us(model.latency_goal),
        levels=model.levels if isinstance(model, Model) else (),
        evaluation=_terms(model.evaluate) if isinstance(model, Model) else {},
        feeds=dict(feeds),
        description=str(model.options.get("description") or ""),
        owners=tuple(map(str, model.options.get("owners") or ())),
        release=release(),
    )


def _us(length: timedelta | None) -> int | None:
    return None if length is None else microseconds(length)


def _dataset(dataset: TrainingDataset) -> DatasetContract:
    return DatasetContract(
        name=dataset.name,
        version=dataset.version,
        asset_key=tuple(dataset.key.path),
        window_us=_us(dataset.window),
        query=dataset.query,
        where=dataset.where,
    )


def _terms(evaluation: Evaluation) -> dict[str, Any]:
    """The arguments of an evaluation that are not its defaults; metrics by their names."""
    terms: dict[str, Any] = {"metrics": list(evaluation.metric_names)}
    for one in fields(evaluation):
        value = getattr(evaluation, one.name)
        if one.name != "metrics" and value != one.default:
            terms[one.name] = _plain(value)
    return terms


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
