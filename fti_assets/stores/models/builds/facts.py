"""What a build is, as short texts by name, so that it can be shown and compared with another."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from fti_assets.core.manifest import (
    JoinedGroup,
    ModelManifest,
    OnDemandCall,
    RandomParts,
    SampleRecord,
    SpineTimes,
    public_task,
)
from fti_assets.core.records import to_json
from fti_assets.errors import list_some

SECTIONS = ("data", "code", "features", "encoders", "metrics", "decisions", "gates", "tuning", "packages", "model")
"""What is told of a build, in the order in which it is shown."""

Facts = Mapping[str, Any]
"""Texts by name; a sequence where what is in it is compared one by one, such as categories."""

_HASH_DIGITS = 12


def facts_of(manifest: ModelManifest) -> dict[str, Facts]:
    """What a build is, by section."""
    facts = (_data, _code, _features, _encoders, _metrics, _decisions, _gates, _tuning, _packages, _model)
    return {section: make(manifest) for section, make in zip(SECTIONS, facts, strict=True)}


def fact_text(value: Any) -> str:
    """A fact as a line tells it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return list_some(value)
    return str(value) if value != "" else "nothing"


def _data(manifest: ModelManifest) -> Facts:
    dataset = manifest.dataset
    return {
        "dataset": f"{dataset.name} v{dataset.version}",
        "partition": dataset.partition,
        "cutoff": manifest.cutoff,
        "trained until": dataset.trained_until or "",
        "snapshot": str(manifest.snapshot),
        "content": dataset.data_version,
        **{f"content of {table}": version for table, version in sorted(dataset.upstream.items())},
        **{f"rows in {part}": f"{rows:,}" for part, rows in dataset.rows.items()},
        "trained because of": manifest.trained_because,
        "point in time": "yes" if dataset.point_in_time else "no",
        "query": ", ".join(dataset.query),
        "where": dataset.where,
        "weight": dataset.weight,
        "sample": "" if dataset.sample is None else _sample(dataset.sample),
        "split by hash": "" if dataset.random_parts is None else _parts(dataset.random_parts),
    }


def _parts(parts: RandomParts) -> str:
    of = f" of {list_some(parts.columns)}" if parts.columns else " of all keys"
    return f"test {parts.test:g}, validation {parts.validation:g}, seed {parts.seed}{of} by {parts.hash}"


def _sample(sample: SampleRecord) -> str:
    shares = [f"{share:g} of {name or 'all'}" for name, share in sample.shares.items()]
    kept = [f"{kept:,} of {sample.rows.get(name, 0):,}" for name, kept in sample.kept.items()]
    return f"{list_some(shares)} by {sample.hash}, seed {sample.seed}, {list_some(kept)} rows kept"


def _code(manifest: ModelManifest) -> Facts:
    return {
        "code version": manifest.code_version,
        **({"seed": str(manifest.seed)} if manifest.seed is not None else {}),
        **{f"on demand {call.name}": _meaning(call) for call in manifest.on_demand},
    }


def _meaning(call: OnDemandCall) -> str:
    return f"v{call.version}, {(call.meaning or call.module_sha256)[:_HASH_DIGITS]} of {call.module}.{call.function}"


def _features(manifest: ModelManifest) -> Facts:
    view = manifest.view
    if manifest.kind == "graph":
        return {}
    sources = {one.feature: f"{join.table_name}.{one.column}" for join in view.joins for one in join.columns}
    sources |= {output.name: f"{call.name} (on demand)" for call in view.on_demand for output in call.outputs}
    return {
        "view": f"{view.name} v{view.version}",
        "spine": f"{view.spine} v{view.spine_version}",
        "spine keys": ", ".join(view.spine_keys),
        "prediction time": view.prediction_time or "",
        "times of the spine": "" if view.spine_times is None else _spine_times(view.spine_times),
        **{f"group {join.group}": _join(join) for join in view.joins},
        **{f"rows of {join.group}": text for join in view.joins if (text := _rows(join))},
        **{f"windows of {join.group}": _hash(to_json(join.windows)) for join in view.joins if join.windows},
        **{f"field {column.name}": column.type for column in view.request},
        **{f"feature {one.name}": f"{one.type} from {sources.get(one.name, 'the request')}" for one in view.features},
        "rules of a request": [
            f"{rule.column} {rule.check} {rule.arguments} {rule.as_type}".strip() for rule in view.rules
        ],
        "rules left out": list(view.rules_left_out),
    }


def _join(join: JoinedGroup) -> str:
    ttl = "" if join.ttl_us is None else f", ttl {join.ttl_us / 1e6:g} s"
    delay = f", {_delay(join)}" if join.serving_delay_us else ""
    return f"v{join.version} by {', '.join(f'{key.spine} = {key.group}' for key in join.keys)}{ttl}{delay}"


def _delay(times: JoinedGroup | SpineTimes) -> str:
    return f"serving delay {times.serving_delay_us / 1e6:g} s"


def _rows(join: JoinedGroup) -> str:
    """Which row of a group is found, beside its key and age, and where."""
    event = [f"event time {join.event_time}"] if join.event_time else []
    return ", ".join([*event, *_visibility(join), *([f"in {join.external}"] if join.external else [])])


def _visibility(times: JoinedGroup | SpineTimes) -> list[str]:
    parts = [f"available at {times.available_at}"] if times.available_at else []
    return [*parts, f"of equal times the last {times.tie_break}"] if times.tie_break else parts


def _spine_times(times: SpineTimes) -> str:
    return ", ".join([*([_delay(times)] if times.serving_delay_us else []), *_visibility(times)])


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def _encoders(manifest: ModelManifest) -> Facts:
    return {
        f"{feature}.{name}": "none" if value is None else value
        for feature, encoder in manifest.encoders.items()
        for name, value in (encoder.items() if isinstance(encoder, dict) else [("encoder", encoder)])
    }


def _metrics(manifest: ModelManifest) -> Facts:
    return (
        {f"test {name}": value for name, value in manifest.metrics.items()}
        | {f"baseline {name}": value for name, value in manifest.baseline.items()}
        | {f"{one} {name}": value for one, scores in manifest.baselines.items() for name, value in scores.items()}
    )


def _decisions(manifest: ModelManifest) -> Facts:
    """What is made of a probability, and how sure the figures are."""
    thresholds = {"threshold": manifest.threshold} if manifest.threshold is not None else {}
    thresholds |= {f"threshold of {label}": one for label, one in manifest.thresholds.items()}
    facts: dict[str, Any] = {}
    for name, one in thresholds.items():
        facts |= {
            name: one.value,
            f"{name} chosen by": f"{one.goal}, on {one.rows:,} rows" if one.goal else "nobody: declared",
        }
    if (calibration := manifest.calibration) is not None:
        facts |= {"calibration": f"{calibration.method}, on {calibration.rows:,} rows"}
        facts |= {f"{name} before calibration": value for name, value in calibration.before.items()}
        facts |= {f"{name} after calibration": value for name, value in calibration.after.items()}
    if (bootstrap := manifest.bootstrap) is not None:
        of = f" of {bootstrap.cluster}" if bootstrap.cluster else ""
        facts |= {"intervals": f"{bootstrap.draws:,} draws{of}, seed {bootstrap.seed}"}
    facts |= {f"{name} interval": one.text for name, one in manifest.intervals.items()}
    for column, fairness in manifest.fairness.items():
        facts |= {f"fairness of {column}, {name}": value for name, value in fairness.figures.items()}
    return facts


def _gates(manifest: ModelManifest) -> Facts:
    return {gate.gate: f"{'passed' if gate.passed else 'failed'}: {gate.reason}" for gate in manifest.gates}


def _tuning(manifest: ModelManifest) -> Facts:
    tuning = manifest.tuning
    if tuning is None:
        return {}
    return {
        "trials": f"{tuning.trials} by {tuning.metric}, seed {tuning.seed}",
        f"validation {tuning.metric}": tuning.value,
        **{f"parameter {name}": "none" if value is None else value for name, value in tuning.parameters.items()},
    }


def _packages(manifest: ModelManifest) -> Facts:
    return dict(manifest.packages)


def _model(manifest: ModelManifest) -> Facts:
    composite = manifest.composite
    return {
        "kind": manifest.kind,
        "task": public_task(manifest.task),
        "status": manifest.status,
        "classes": list(manifest.classes),
        "trained model": "" if manifest.comparison is None else manifest.comparison.model,
        "inputs": [f"{one.name} {one.type}{'' if one.dim is None else f' [{one.dim}]'}" for one in manifest.inputs],
        "outputs": [f"{one.name} {one.type}" for one in manifest.outputs],
        "graph": manifest.sha256[:_HASH_DIGITS],
        "latency goal": "" if manifest.latency_goal is None else f"{manifest.latency_goal * 1000:g} ms",
        "warnings": "; ".join(manifest.warnings),
        "description": manifest.description,
        "intended use": manifest.intended_use,
        "limits": list(manifest.limits),
        "asset": "/".join(manifest.asset_key),
        **({} if composite is None else {f"made of {one.model}": one.build for one in composite.members}),
        **({} if composite is None else {f"feeds {field}": model for field, model in composite.feeds.items()}),
    }
