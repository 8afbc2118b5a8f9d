"""Training datasets: a view's rows at a cutoff, and what their table holds, demands and warns of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import dagster as dg

from fti_assets.core.names import DATASETS
from fti_assets.core.rules import Rule
from fti_assets.engines.choice import Engine
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.columns import Columns, declared_columns, table_column
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.layout import Layout
from fti_assets.features.validation.schema import column_types
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.training.datasets.sampling.sample import Sample
from fti_assets.training.datasets.splits.hash_split import HashedParts
from fti_assets.training.datasets.splits.split import TimeSplit
from fti_assets.training.views.view import FeatureView

if TYPE_CHECKING:
    import pandera.pandas as pa

SPLIT = "split"
"""The dataset's column that holds ``train``, ``validation`` or ``test``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingDataset(TableDeclaration):
    """A declared training dataset. Make one with ``training_dataset``."""

    schema_name: ClassVar[str] = DATASETS

    view: FeatureView
    split: TimeSplit | HashedParts
    window: timedelta | None
    query: tuple[str, ...] = ()
    """The columns of the spine that name a list to be ranked; none without lists."""
    where: str | None
    sample: Sample | None
    schema: pa.DataFrameSchema | None
    catch_up: int
    weight: str | None = None
    """The spine's column that says what each row counts; None where all count alike."""
    engine: Engine | None = None
    """What joins the features; None for what the stores say. It is no part of the code version, since the rows are the same."""

    @property
    def entity_columns(self) -> tuple[str, ...]:
        """The spine's columns that name a row's entity or query and that are neither keys nor features: its rows keep them."""
        columns = dict.fromkeys((*(self.split.columns if isinstance(self.split, HashedParts) else ()), *self.query))
        return tuple(name for name in columns if name not in (*self.view.identity, *self.view.feature_names))

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """The spine's columns that its rows keep besides keys and features: those of entities and queries, and the weight."""
        of_weight = (
            [self.weight] if self.weight and self.weight not in (*self.view.identity, *self.view.feature_names) else []
        )
        return tuple(dict.fromkeys((*self.entity_columns, *of_weight)))

    @property
    def rests_on(self) -> list[FeatureGroup]:
        """The groups of its view."""
        return self.view.groups


_MOST_CUTOFFS = 1000


def checked_catch_up(catch_up: int, *, what: str) -> int:
    """A number of cutoffs to catch up on.

    Raises:
        DeclarationError: it is not from 1 to 1,000.
    """
    if not 1 <= catch_up <= _MOST_CUTOFFS:
        raise DeclarationError(
            f"{what}: catch_up={catch_up} is not from 1 to {_MOST_CUTOFFS:,}: write catch_up=3 for the three "
            "newest cutoffs, or automation_condition=None to make none by themselves"
        )
    return catch_up


def row_rules(dataset: TrainingDataset) -> tuple[Rule, ...]:
    """The rules of a dataset's rows besides those of its schema."""
    of_split = (ONE_PART,) if isinstance(dataset.split, HashedParts) else ()
    return (*RULES, *of_split, *((UNDIVIDED,) if dataset.query else ()))


def layout_of(dataset: TrainingDataset) -> Layout:
    """What the dataset's table demands of its rows."""
    types = {} if dataset.schema is None else column_types(dataset.schema)
    return Layout(dataset.table_name, dataset.view.identity, (), None, dataset.schema, types)


def identity_columns(spine: FeatureGroup) -> list[dg.TableColumn]:
    """The columns that name a row of datasets and predictions: the spine's keys and the prediction time."""
    types = spine.columns or {}
    columns = [table_column(key, types.get(key), f"Key, of {spine.table_name}", nullable=False) for key in spine.keys]
    if spine.event_time is not None:
        columns.append(
            table_column(spine.event_time, "timestamp", f"Prediction time, of {spine.table_name}", nullable=False)
        )
    return columns


def columns_of(dataset: TrainingDataset) -> Columns:
    """The dataset's columns, as far as its groups declare their types."""
    view = dataset.view
    columns = identity_columns(view.spine)
    columns += [table_column(name, kind, origin) for name, kind, origin in view.declared_features]
    types, spine = view.spine.columns or {}, view.spine.table_name
    columns += [
        table_column(name, types.get(name), f"{_what_it_is(name, dataset)}, of {spine}", nullable=False)
        for name in dataset.kept_columns
    ]
    columns += [
        table_column(
            name,
            (label.group.columns or {}).get(label.name),
            f"Label: {label.name} of {label.group.table_name}",
            nullable=False,
        )
        for name, label in view.labels.items()
    ]
    columns.append(table_column(SPLIT, "text", "train, validation or test", nullable=False))
    return declared_columns(columns, dataset.schema)


def _what_it_is(name: str, dataset: TrainingDataset) -> str:
    if name in dataset.query:
        return "Query"
    return "Entity" if name in dataset.entity_columns else "Weight"


JOINS = Rule("joins_find_rows", "Every join finds a row of its group", blocking=False)
VARYING = Rule("features_vary", "No feature is null in every row or has one value in all of them", blocking=False)
APART = Rule(
    "features_do_not_tell_label", "No feature equals the label or tells it with hardly an error", blocking=False
)
UNKNOWN = Rule("label_unknown_in_time", "No label was visible at its own prediction time", blocking=False)
PAST = Rule("times_not_in_future", "No group has rows that are said to be true and available after now", blocking=False)
LABELS = Rule(
    "labels_in_each_part", "Each part has rows, of several labels, and no class that train has not", blocking=False
)
IN_TRAIN = Rule("categories_in_train", "No category occurs in validation or test alone", blocking=False)
ONE_PART = Rule("keys_in_one_part", "No key or entity is in two parts")
"""The rule of splits by hash; a split by time has rows of one key in several parts."""
UNDIVIDED = Rule("queries_undivided", "No query is left out because the split would divide it", blocking=False)
"""The rule of datasets with queries."""
RULES = (JOINS, VARYING, APART, UNKNOWN, LABELS, IN_TRAIN, PAST)

HAVE_VALUES = Rule("features_have_values", "No feature is null in every row", blocking=False)
HOLD_WHOLE_NUMBERS = Rule(
    "whole_numbers_held", "No feature has a whole number that a model gets rounded, as float64", blocking=False
)
ANSWER_RULES = (JOINS, HAVE_VALUES, HOLD_WHOLE_NUMBERS)
"""Rules of the rows that batch predictions answer: one day's rows may well have one value of a feature, or lie ahead."""
