"""What is said of a dataset's rows before they are stored: the checks, the classes, the profile; once, or for each of several labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from fti_assets.core.manifest import Column, SampleRecord, ViewRecord
from fti_assets.core.manifest.profiles import Profile
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote, temporary_name
from fti_assets.training.datasets.checks.coverage import Coverage, match_columns
from fti_assets.training.datasets.checks.parts import Parts, judge_parts
from fti_assets.training.datasets.checks.rows import ROW_SPLIT, VISIBLE_LABEL, judge_rows
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.datasets.labels import LABEL, visible_column
from fti_assets.training.datasets.profiling import profile_of
from fti_assets.training.datasets.splits.hash_split import HashedParts
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.declarations import has_categories, loses_nulls
from fti_assets.training.encoders.kinds.scales import Standardize


@dataclass(frozen=True)
class RowsJudgement:
    """What the checks said, the rows of each label's classes by part, the share of keys in several parts, and how values are spread."""

    verdicts: tuple[Verdict, ...]
    classes: Mapping[str, Mapping[str, Mapping[str, int]]]
    keys_in_several_parts: float
    profile: Profile


def judge_dataset(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    dataset: TrainingDataset,
    view: ViewRecord,
    labels: Mapping[str, Column],
    coverage: Coverage,
    sample: SampleRecord | None,
) -> RowsJudgement:
    """Judge the rows of a dataset beside each of its labels.

    Args:
        table: the quoted name of a table with each feature, the labels, whether each was visible, and ``_fti_split``.
        labels: the labels by the columns that the table has for them.
        coverage: what the joins found.
        sample: what was kept of the train rows.
    """
    verdicts: list[list[Verdict]] = []
    of_parts: dict[str, Parts] = {}
    profiles: list[Profile] = []
    for column, label in labels.items():
        source = _of_one_label(connection, table, column)
        of_parts[label.name] = _parts_of(connection, source, dataset, view, label)
        own = judge_rows(
            connection,
            source,
            view.features,
            label,
            LABEL,
            coverage,
            match_columns(view),
            nulls_lost=[
                feature.name
                for feature in view.features
                if loses_nulls(dataset.view.encoders.get(feature.name, Standardize()))
            ],
        )
        verdicts.append([*own, *of_parts[label.name].verdicts])
        train = f"(FROM {source} WHERE {ROW_SPLIT} = 'train')"
        # Features are counted once, beside the first label.
        profiles.append(profile_of(connection, train, () if profiles else view.features, label, LABEL, sample))
    several = tuple(one.label for one in profiles) if len(profiles) > 1 else ()
    return RowsJudgement(
        tuple(_united(verdicts)),
        {name: parts.classes for name, parts in of_parts.items()},
        next(iter(of_parts.values())).keys_in_several,
        replace(profiles[0], labels=several),
    )


def _of_one_label(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> str:
    """The rows as they would be of a dataset of that label alone."""
    if column == LABEL:
        return table
    view = quote(temporary_name("of_label"))
    connection.execute(
        f"CREATE TEMP VIEW {view} AS SELECT *, {column} AS {LABEL}, {visible_column(column)} AS {VISIBLE_LABEL} FROM {table}"
    )
    return view


def _parts_of(
    connection: duckdb.DuckDBPyConnection, table: str, dataset: TrainingDataset, view: ViewRecord, label: Column
) -> Parts:
    split = dataset.split
    return judge_parts(
        connection,
        table,
        label,
        LABEL,
        categorical=[one.name for one in view.features if _is_category(one, dataset)],
        entity=(split.columns if isinstance(split, HashedParts) else ()) or view.spine_keys,
        may_share=not isinstance(split, HashedParts),
        expected=[part for part in SPLITS if part != "validation" or split.validation],
    )


def _is_category(feature: Column, dataset: TrainingDataset) -> bool:
    encoder = dataset.view.encoders.get(feature.name)
    return feature.type == "text" if encoder is None else has_categories(encoder)


def _united(verdicts: Sequence[Sequence[Verdict]]) -> Iterator[Verdict]:
    """One verdict a rule: what is said of every label alike is said once."""
    for of_rule in zip(*verdicts, strict=True):
        problems = {one.problem: one for one in of_rule if one.failures}
        failures = sum(one.failures for one in problems.values())
        yield replace(of_rule[0], failures=failures, problem="; ".join(problems))
