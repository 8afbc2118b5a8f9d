"""The reference as Markdown, made from the code: each public name with its signature, its arguments and what it raises.

``python -m scripts.reference`` writes docs/reference again; a test compares the pages with what this makes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
MADE = "<!-- Made by `make reference` from the docstrings: change those. -->"


@dataclass(frozen=True)
class Page:
    """A page: what stands above its names, and the module that exports them; one of a module below it has a dot."""

    title: str
    text: str
    module: str
    names: Sequence[str]


def _names(text: str) -> list[str]:
    return text.split()


PAGES = {
    "features.md": Page(
        "Features",
        "Feature groups, their rows, windows over them, and features of a request alone.",
        "fti_assets",
        _names(
            "feature_group sql_feature_group external_group group prediction_times ParquetFiles PostgresTable DuckDBTable FeatureGroup "
            "read_files KeepLast Changes ChangeFeed FeedPosition Table Grid window_aggregate Window request_windows Count Sum Mean Rate "
            "Std Min Max First Last DistinctCount Percentile Sessions on_demand "
            "shipped_text"
        ),
    ),
    "streaming.md": Page(
        "Streaming",
        "Streams of events from a broker, which become rows of a feature group as they happen.",
        "fti_assets",
        _names("stream_feature_group NatsStream KafkaStream RedisStream"),
    ),
    "training.md": Page(
        "Training",
        "What a model needs, the rows it learns from, the model, and what it must pass.",
        "fti_assets",
        _names(
            "FeatureView Label Age CalendarParts CustomEncoder "
            "Standardize Passthrough Impute MinMax Robust Log1p Clip Quantile Bucketize Cyclical OneHot "
            "Embedding Ordinal Hashing Target Vector training_dataset TimeSplit HashSplit GroupSplit RandomSplit Sample ClassWeights "
            "model composite published_model TrainingData Tuning Uniform LogUniform Integers Choice Trial "
            "Evaluation Metric Importance BeatsBaseline LastValue NotWorseThanChampion MetricBounds "
            "CalibrationSlope FairnessBounds SliceGap GraphLatency GraphSize gate Scores GateVerdict "
            "OnSchedule OnNewData OnDrift OnDegradation"
        ),
    ),
    "inference.md": Page(
        "Inference",
        "Answers for every row of a partition, for an app, and over HTTP.",
        "fti_assets",
        _names(
            "batch_predictions TopK ParquetSink PostgresSink FunctionSink prediction_log ServiceLimits experiment read_online "
            "OnlineReader Predictor serving_app Limits"
        ),
    ),
    "monitoring.md": Page(
        "Monitoring",
        "How a model's inputs and answers change, partition by partition.",
        "fti_assets",
        _names("monitor Drift Quality parity"),
    ),
    "definitions.md": Page(
        "Definitions and stores",
        "From declarations to Dagster, what runs them, and where everything is stored.",
        "fti_assets",
        _names(
            "build_definitions new_data_sensor upkeep_job Stores SparkEngine MlflowTracking Alerts read search "
            "event_log.PooledSqliteEventLogStorage"
        ),
    ),
    "testing.md": Page(
        "Testing",
        "Helpers for your system's tests; [test your system](../how-to/test.md) shows each at work.",
        "fti_assets.testing",
        _names(
            "rows stores_in materialize Materialized tiny_dataset train_tiny TinyBuild assert_no_leak assert_parity ParityReport "
            "assert_logged_parity LoggedParityReport Rehearsal RehearsedRun publish MemoryStream take_events TakenEvents "
            "LeakFound ParityBroken RowsRefused"
        ),
    ),
    "components.md": Page(
        "Components",
        "Declarations in YAML; [declare in YAML](../how-to/declare-in-yaml.md) shows them at work. The attributes of an asset are "
        "those of `@dg.asset`.",
        "fti_assets.components",
        _names(
            "FeatureGroupComponent FeatureViewComponent ModelComponent CompositeComponent PredictionsComponent "
            "PredictionLogComponent ExperimentComponent MonitorComponent ParityComponent AlertsComponent StoresComponent "
            "PublishedGroupComponent PublishedModelComponent"
        ),
    ),
    "errors.md": Page(
        "Errors",
        "One tree of exceptions. Each names the thing, what was wrong with it, what was there instead and what to do.",
        "fti_assets.errors",
        (),
    ),
}


def pages() -> dict[str, str]:
    """The text of each page, by its file's name."""
    package = griffe.load("fti_assets", search_paths=[ROOT], resolve_aliases=True)
    made = {file: "\n".join(_page(page, package)) for file, page in PAGES.items()}
    return {file: re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n" for file, text in made.items()}


def _page(page: Page, package: Any) -> Iterator[str]:
    module = package[page.module.removeprefix("fti_assets").strip(".")] if "." in page.module else package
    names = page.names or [name for name, one in module.members.items() if not one.is_alias and one.is_class]
    yield from (f"# {page.title}", "", MADE, "", page.text, "")
    if not page.names:
        yield from ("```", textwrap.dedent(module.docstring.value.partition("\n\n")[2]), "```", "")
    objects = {name.rpartition(".")[2]: _target(module[name]) for name in names}
    below = {name.rpartition(".")[2]: f"fti_assets.{name.rpartition('.')[0]}." for name in names if "." in name}
    yield from ("| name | what it is |", "|---|---|")
    for name, one in objects.items():
        yield f"| [`{name}`](#{name.lower()}) | {_first_line(one)} |"
    for name, one in objects.items():
        yield from ("", f"## {name}", "")
        yield from _described(one, below.get(name, _prefix(page.module)))


def _target(one: Any) -> Any:
    return one.final_target if one.is_alias else one


def _prefix(module: str) -> str:
    return {"fti_assets": "fti.", "fti_assets.testing": "testing."}.get(module, "")


def _first_line(one: Any) -> str:
    text = " ".join(one.docstring.value.partition("\n\n")[0].split())
    return _prose(text).replace("|", "\\|")


def _described(one: Any, prefix: str) -> Iterator[str]:
    if not (one.is_class and _is_error(one)):
        yield from ("```py", _signature(one, f"{prefix}{one.name}"), "```", "")
    yield from _docstring(one)
    if one.is_class:
        for member in _members(one).values():
            member = _target(member)
            if (
                member.name.startswith("_")
                or not member.has_docstring
                or (member.is_attribute and not member.docstring)
            ):
                continue
            displayed = f"{one.name}.{member.name}"
            yield from ("", f"### {displayed}", "")
            if member.is_function:
                yield from ("```py", _signature(member, displayed), "```", "")
            elif member.annotation is not None:
                yield from (f"`{member.annotation}`", "")
            yield from _docstring(member)


def _members(one: Any) -> dict[str, Any]:
    """The members of a class; without those of a component's bases, which Dagster alone calls."""
    if "dataclass" in one.labels:
        return dict(one.all_members)
    return dict(one.members) if one.name.endswith("Component") else {**one.members, **one.inherited_members}


def _is_error(one: Any) -> bool:
    return bool(one.filepath.name == "errors.py")


def _signature(one: Any, shown: str) -> str:
    """A signature as one writes it, an argument a line if it is long; ``self`` and ``cls`` are not written."""
    parts: list[str] = []
    kinds: list[str] = []
    for parameter in getattr(one, "parameters", ()):
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind.value
        if kind == "keyword-only" and not {"keyword-only", "variadic positional"} & {*kinds}:
            parts.append("*")
        if kinds and kinds[-1] == "positional-only" and kind != "positional-only":
            parts.append("/")
        kinds.append(kind)
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        annotation = "" if parameter.annotation is None else f": {parameter.annotation}"
        default = (
            ""
            if stars or parameter.default is None
            else f" = {parameter.default}"
            if annotation
            else f"={parameter.default}"
        )
        parts.append(f"{stars}{parameter.name}{annotation}{default}")
    if kinds and kinds[-1] == "positional-only":
        parts.append("/")
    gives = f" -> {one.returns}" if one.is_function and one.returns is not None else ""
    line = f"{shown}({', '.join(parts)}){gives}"
    if len(line) <= 100:
        return line
    return "\n".join([f"{shown}(", *(f"    {part}," for part in parts), f"){gives}"])


def _docstring(one: Any) -> Iterator[str]:
    for section in one.docstring.parse("google", warnings=False):
        match section.kind.value:
            case "text":
                yield from (*_text(section.value), "")
            case "parameters":
                yield from _list("Arguments", ((entry.name, entry.description) for entry in section.value))
            case "attributes":
                yield from _list("Attributes", ((entry.name, entry.description) for entry in section.value))
            case "raises":
                yield from _list("Raises", ((str(entry.annotation), entry.description) for entry in section.value))
            case "returns":
                text = " ".join(entry.description for entry in section.value)
                yield from (f"**Returns:** {_prose(' '.join(text.split()))}", "")
            case "examples":
                for kind, text in section.value:
                    displayed = kind.value == "examples"
                    yield from ("```pycon", text, "```", "") if displayed else (*_text(text), "")


def _text(text: str) -> Iterator[str]:
    """Paragraphs as they are, examples in a fence, tables of a docstring as Markdown."""
    for paragraph in re.split(r"\n\n+", text.strip()):
        if paragraph.startswith(">>>"):
            yield from ("```pycon", re.sub(r"  # doctest: .*", "", paragraph), "```", "")
        elif paragraph.startswith("    "):  # what a "::" announces
            yield from ("```", textwrap.dedent(paragraph), "```", "")
        elif paragraph != "::":
            yield from (_prose(paragraph), "")


def _list(title: str, entries: Iterator[tuple[str, str]]) -> Iterator[str]:
    yield from (f"**{title}:**", "")
    for name, description in entries:
        yield f"- `{name}`: {_prose(' '.join(description.split()))}"
    yield ""


def _prose(text: str) -> str:
    """A docstring's words as Markdown: its literals have one backtick."""
    return re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)


def main() -> None:
    """Write the pages."""
    for file, text in pages().items():
        (FOLDER / file).write_text(text)


if __name__ == "__main__":
    main()
