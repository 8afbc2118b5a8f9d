"""Model cards: what a build is, in words, after Mitchell et al., "Model Cards for Model Reporting" (2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from fti_assets.core.manifest import (
    CalibrationRecord,
    DatasetManifest,
    FairnessRecord,
    GraphComparison,
    ImportanceRecord,
    ModelManifest,
    TuningRecord,
    ViewRecord,
    model_of,
)
from fti_assets.core.manifest.intervals import Interval
from fti_assets.core.manifest.learning import EpochRecord
from fti_assets.errors import list_some
from fti_assets.training.datasets.checks.coverage import ROW
from fti_assets.training.encoders.words import encoder_of
from fti_assets.training.judging.pictures.learning import learning_in_words
from fti_assets.training.judging.pictures.picture_page import PICTURES
from fti_assets.training.tuning.study import STUDY

_SLICES = 8
_CLASSES = 8
_FEATURES = 10


def model_card(manifest: ModelManifest, dataset: DatasetManifest, epochs: Sequence[EpochRecord] = ()) -> str:
    """The card of a build, as Markdown; ``epochs`` are those of its training."""
    view = manifest.view
    sections = [
        f"# {manifest.model} v{manifest.version}",
        f"Build `{manifest.build}`: {model_of(manifest.task)} of view `{view.name}` version {view.version}, made at "
        f"{manifest.created_at} UTC. "
        f"It is **{manifest.status}**.",
        *([f"It was trained because of {manifest.trained_because}."] if manifest.trained_because else []),
        *_purpose(manifest),
        "## What it learned from",
        _learned_from(manifest, dataset),
        *([f"Trained for {learning_in_words(epochs)}."] if epochs else []),
        "## How it does on the test split",
        _metrics(manifest),
        *_comparison(manifest.comparison),
        *_calibration(manifest.calibration),
        "## Gates",
        "\n".join(
            f"- {'passed' if gate.passed else '**failed**'}: {gate.gate}: {_one_line(gate.reason)}"
            for gate in manifest.gates
        )
        or "None were declared.",
        *_slices(manifest),
        *_fairness(manifest.fairness),
        *_importance(manifest.importance),
        *_tuning(manifest.tuning),
        "## Features",
        features_table(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def _purpose(manifest: ModelManifest) -> list[str]:
    """What its declaration says that it is for, and not for."""
    limits = "\n".join(f"- {limit}" for limit in manifest.limits)
    return [
        *([manifest.description] if manifest.description else []),
        *(["## Intended use", manifest.intended_use] if manifest.intended_use else []),
        *(["## Limits", limits] if limits else []),
    ]


def _calibration(record: CalibrationRecord | None) -> list[str]:
    if record is None:
        return []
    changes = "; ".join(
        f"{name} {record.before[name]:.4f} before, {value:.4f} after" for name, value in record.after.items()
    )
    return [f"Its probabilities are calibrated ({record.method}) on {record.rows:,} validation rows: {changes}."]


def _metrics(manifest: ModelManifest) -> str:
    """The metrics with their intervals and those of each baseline; builds of earlier releases have no intervals."""
    intervals, bootstrap = manifest.intervals, manifest.bootstrap
    baselines = {"baseline": manifest.baseline, **manifest.baselines}
    rows = [
        (
            name,
            value,
            *([_range(intervals.get(name))] if bootstrap else []),
            *(one.get(name) for one in baselines.values()),
        )
        for name, value in manifest.metrics.items()
    ]
    header = ("metric", "model", *(["interval"] if bootstrap else []), *baselines)
    notes = []
    if bootstrap:
        confidence = next((f"{one.confidence * 100:g}% " for one in intervals.values()), "")
        units = f"values of `{bootstrap.cluster}` with their rows" if bootstrap.cluster else "rows"
        notes.append(f"The {confidence}intervals are of {bootstrap.draws:,} draws of the test {units}.")
    if manifest.threshold is not None and {"accuracy", "f1", "precision", "recall"} & set(manifest.metrics):
        threshold = manifest.threshold
        goal = f", which has the best {threshold.goal} on {threshold.rows:,} validation rows" if threshold.goal else ""
        notes.append(f"The model says yes from a probability of {threshold.value:.4g} on{goal}.")
    if manifest.thresholds:
        cuts = ", ".join(
            f"`{label}` {one.value:.4g}"
            + (f" (the best {one.goal} on {one.rows:,} validation rows)" if one.goal else "")
            for label, one in ((label, manifest.thresholds[label]) for label in manifest.labels)
        )
        notes.append(f"It says yes from a probability of: {cuts}.")
    if manifest.labels:
        notes.append("A metric without a label's name is the mean over the labels.")
    return "\n\n".join([table(header, rows), *([" ".join(notes)] if notes else [])])


def _range(interval: Interval | None) -> str | None:
    return None if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"


def _learned_from(manifest: ModelManifest, dataset: DatasetManifest) -> str:
    lines = [
        f"- dataset `{dataset.dataset}` version {dataset.version}, partition `{manifest.dataset.partition}`, lake snapshot "
        f"{dataset.snapshot}, cutoff {dataset.cutoff}",
        f"- rows: {', '.join(f'{part} {count:,}' for part, count in dataset.rows.items())}; left out: "
        f"{', '.join(f'{why} {count:,}' for why, count in dataset.left_out.items())}",
        *_labels(dataset),
    ]
    if dataset.query:
        of_parts = ", ".join(f"{part} {count:,}" for part, count in dataset.queries.items())
        lines.append(f"- rows of one `{', '.join(dataset.query)}` are one list: {of_parts}")
    if dataset.where:
        lines.append(f"- only rows of the spine `{dataset.view.spine}` where `{dataset.where}`")
    if dataset.sample is not None:
        counts = ", ".join(
            f"{dataset.sample.kept[name]:,} of {rows:,}{f' of class {name!r}' if name else ''}"
            for name, rows in dataset.sample.rows.items()
        )
        lines.append(f"- a sample of the train rows, by hash: {counts}")
    if dataset.weight:
        lines.append(
            f"- rows count by `{dataset.weight}` of the spine, in training and in every figure of this card; "
            "numbers of rows and classes, encoders and curves count each once"
        )
    lines += _classes(dataset.classes, "label")
    if dataset.keys_in_several_parts:
        lines.append(f"- {dataset.keys_in_several_parts:.1%} of the keys have rows in more than one part")
    if dataset.random_parts is not None and dataset.point_in_time:
        columns = dataset.random_parts.columns or dataset.view.spine_keys
        lines.append(
            f"- **not split by time**: rows are in a part by the hash of {list_some(columns)}, so the test rows are as old as the train "
            "rows, and the figures say how it does on others of those, not at later times"
        )
    if not dataset.point_in_time:
        lines.append(
            "- **not point-in-time**: the rows have no event time, so nothing keeps out what was known only later"
        )
    if dataset.delay_breaches:
        lines.append(
            f"- **delay breaches**: of {dataset.delay_breaches:,} rows the spine row was not available at its prediction time; "
            "their own columns are those of its earliest version"
        )
    lines += [f"- **warning**: {warning}" for warning in (*dataset.warnings, *manifest.warnings)]
    lines += not_held_against(manifest.view)
    if dataset.lookups:
        lines.append(f"- lookups, visible at every instant: {', '.join(f'`{name}`' for name in dataset.lookups)}")
    lines += [
        f"- external: `{table}` is **not pinned**: {place} held version {dataset.upstream[table]} when it was read, its "
        "partitions could not be checked, and what is there now may differ"
        for table, place in dataset.external.items()
    ]
    for group, shares in dataset.coverage.items():
        least = min((share, name) for name, share in shares.items() if name != ROW)
        lines.append(
            f"- `{group}` had a row for {shares[ROW]:.1%} of the rows; of its features `{least[1]}` has the fewest values, "
            f"{least[0]:.1%}"
        )
    return "\n".join(lines)


def _labels(dataset: DatasetManifest) -> list[str]:
    if not dataset.labels:
        return [f"- label `{dataset.label.name}` of `{dataset.label_group}`"]
    lines = []
    for one in dataset.labels:
        lacking = f"; {one.missing:,} mature rows lack it" if one.missing else ""
        lines.append(f"- label `{one.name}`: `{one.column}` of `{one.group}`{lacking}")
        lines += _classes(one.classes, f"`{one.name}`")
    return lines


def _classes(classes: Mapping[str, Mapping[str, int]], label: str) -> list[str]:
    lines = []
    for part, counts in classes.items():
        of_class = [f"`{name}` {rows:,}" for name, rows in list(counts.items())[:_CLASSES]]
        lines.append(
            f"- rows of {part} by {label}: {', '.join(of_class)}{' and more' if len(counts) > _CLASSES else ''}"
        )
    return lines


def not_held_against(view: ViewRecord) -> list[str]:
    """What of the spine's schema no request is held against, as a list of Markdown of one item or none."""
    if not view.rules_left_out:
        return []
    return [f"- **no request is held against** these checks of the schema of `{view.spine}`: {view.left_out_in_words}"]


def _comparison(comparison: GraphComparison | None) -> list[str]:
    if comparison is None:
        return []
    return [
        f"The exported graph answers within {comparison.largest_difference:.2g} of the trained {comparison.model} on each of "
        f"{comparison.rows:,} test rows; {comparison.outliers:,} of them differ by more than {comparison.tolerance:g}, where "
        f"{comparison.allowed:,} may."
    ]


def _tuning(tuning: TuningRecord | None) -> list[str]:
    if tuning is None:
        return []
    ends = [f"{count:,} {how}" for how, count in (("pruned", tuning.pruned), ("failed", tuning.failed)) if count]
    return [
        "## Tuning",
        f"Its parameters are those of trial {tuning.best:,} of {tuning.trials:,}{''.join(f', {end}' for end in ends)}: {tuning.metric} "
        f"{tuning.value:.4f} on validation. As the best of so many that flatters the model; the test split judges it. Each trial is in "
        f"`{STUDY}` beside this card.",
        table(("parameter", "value"), list(tuning.parameters.items())),
    ]


def _slices(manifest: ModelManifest) -> list[str]:
    sections = []
    for column, values in manifest.slices.items():
        names = list(dict.fromkeys(name for metrics in values.values() for name in metrics if name != "rows"))
        intervals = manifest.slice_intervals.get(column, {})
        ranged = names[:1] if intervals else []
        rows = [
            (
                value or "(missing)",
                metrics["rows"],
                *(metrics.get(name) for name in names),
                *(_range(intervals.get(value, {}).get(name)) for name in ranged),
            )
            for value, metrics in islice(values.items(), _SLICES)
        ]
        more = (
            f"\n\n{len(values) - _SLICES} smaller slices are in `{PICTURES}` beside this card."
            if len(values) > _SLICES
            else ""
        )
        header = (column, "rows", *names, *(f"interval of {name}" for name in ranged))
        sections += [f"## By {column}", table(header, rows) + more]
    return sections


def _importance(importance: ImportanceRecord | None) -> list[str]:
    if importance is None:
        return []
    importances = [*islice(importance.features.items(), _FEATURES), *importance.groups.items()]
    hidden = len(importance.features) - _FEATURES
    more = f" {hidden} less important features are in `{PICTURES}` beside this card." if hidden > 0 else ""
    return [
        "## What it rests on",
        f"By how much {importance.metric} gets worse with a feature shuffled among {importance.rows:,} rows of the test split, "
        f"{importance.repeats} times each.{more}",
        table(("feature", "mean", "deviation"), [(name, one.mean, one.std) for name, one in importances]),
    ]


def _fairness(fairness: Mapping[str, FairnessRecord]) -> list[str]:
    sections = []
    for column, record in fairness.items():
        rows = [
            (value or "(missing)", float(one.rows), one.selection_rate, one.true_positive_rate, one.false_positive_rate)
            for value, one in islice(record.groups.items(), _SLICES)
        ]
        header = (column, "rows", "selection rate", "true positive rate", "false positive rate")
        figures = table(("over all slices", "value"), list(record.figures.items()))
        named = f": {list_some(record.largest_left_out)}" if record.largest_left_out else ""
        left_out = f"\n\nSlices with {record.left_out:,} rows together are too small{named}." if record.left_out else ""
        sections += [f"## Fairness by {column}", table(header, rows), figures + left_out]
    return sections


def features_table(manifest: ModelManifest) -> str:
    """Each feature with its type, where it comes from and what encodes it, as a Markdown table."""
    sources = {column.feature: join.table_name for join in manifest.view.joins for column in join.columns}
    sources |= {output.name: f"{call.name} (on demand)" for call in manifest.view.on_demand for output in call.outputs}
    rows = [
        (
            feature.name,
            feature.type,
            sources.get(feature.name, "the request"),
            encoder_of(manifest, feature.name),
        )
        for feature in manifest.view.features
    ]
    return table(("feature", "type", "from", "encoder"), rows)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as a Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1 else f"{round(value, 4) + 0.0:.4f}"
    return _one_line(str(value)).replace("|", "\\|")


def _one_line(text: str) -> str:
    """A text in one line, since another would end the item or row that it stands in."""
    return " ".join(text.splitlines()) if len(text.splitlines()) > 1 else text
