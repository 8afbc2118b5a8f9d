"""One build of a model, ready to answer: its request form, its groups, its on-demand functions and its graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import itemgetter
from time import perf_counter
from typing import Any, Literal

import numpy as np

from fti_assets.core.columns import canonical, whole_numbers
from fti_assets.core.manifest import Column, GraphInput, ModelManifest, ViewRecord
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.times import microseconds
from fti_assets.core.types import MISSING_INTEGER, SIDES, ColumnType
from fti_assets.errors import DamagedError, PredictionError, excerpt, listed, one_of
from fti_assets.inference.serving.online_features import OnlineFeatures
from fti_assets.inference.serving.request import RequestForm
from fti_assets.inference.serving.request_rules import RequestRules
from fti_assets.stores.models.graph import Graph
from fti_assets.stores.online.store import OnlineStore

Row = list[Any]
UnknownKeys = Literal["missing", "error"]
OnMissing = Literal["impute", "error"]
Report = Literal["report", "error"]

_EXACT = 2**53
_OUTPUT = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}


@dataclass(frozen=True)
class Strictness:
    """What is refused of a request that could be answered: each is "error", or what else is said of it.

    Raises:
        PredictionError: one is neither.
    """

    unknown_keys: UnknownKeys = "missing"
    unknown_categories: Report = "report"
    out_of_schema: Report = "report"
    on_missing: OnMissing = "impute"

    def __post_init__(self) -> None:
        for one in fields(self):
            if (value := getattr(self, one.name)) not in (one.default, "error"):
                raise PredictionError(f"{one.name} is {excerpt(value)}: {one.default!r} or 'error' is expected")


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    ``value`` is the probability (binary), a dict of class to probability (multiclass) or the value (regression);
    ``features`` what the model saw, raw, None where missing; ``missing`` the group tables that brought no row or
    a stale one; ``at`` the prediction time, naive UTC. ``unknown`` names the features with a category that the model
    did not learn, which it treats as missing, and ``out_of_schema`` the fields with a value that the spine's schema would refuse.
    ``ages`` says of each group's row how many seconds before ``at`` its event time is, a stale row's too; None without a row, and for
    a lookup. A group that is joined more than once stands there by the spine's columns, as ``airports_v1[dest]``.
    """

    value: float | dict[str, float]
    features: dict[str, Any]
    missing: tuple[str, ...]
    at: datetime
    model: str
    build: str
    unknown: tuple[str, ...] = ()
    out_of_schema: tuple[str, ...] = ()
    ages: dict[str, float | None] = field(default_factory=dict)


class ServedBuild:
    """A build whose parts are all loaded and fit each other.

    Raises:
        PredictionError: the manifest, the graph, the on-demand modules and the online namespaces do not fit each other.
        NotMaterializedError: a namespace is not there.
        DamagedError: the graph cannot be run.
    """

    def __init__(
        self,
        manifest: ModelManifest,
        graph: Graph,
        online: OnlineStore,
        strictness: Strictness,
    ) -> None:
        view = manifest.view
        what = f"model {manifest.model!r} ({manifest.reference})"
        self.manifest = manifest
        self.reference = manifest.reference
        self._strictness = strictness
        self._form = RequestForm(view, what=f"model {manifest.model!r}")
        self._rules = RequestRules(view.rules, self._form.columns)
        slots = _Slots(what)
        for column in self._form.columns:
            slots.add(column.name, column.type)
        slots.add(view.prediction_time or "", "timestamp")
        _refuse_external(view, what)
        key_slots = [[slots.of(key.spine) for key in joined.keys] for joined in view.joins]
        self._online = OnlineFeatures(view.joins, online, key_slots)
        for joined in view.joins:
            for brought in joined.columns:
                slots.add(brought.feature, brought.type)
        self._calls: list[tuple[LoadedCall, list[tuple[str, int, ColumnType]]]] = []
        for call in view.on_demand:
            self._calls.append((LoadedCall(call), [(name, slots.of(name), slots.types[name]) for name in call.inputs]))
            for output in call.outputs:
                slots.add(output.name, output.type)
        self._names = tuple(feature.name for feature in view.features)
        self._pick = _picker([slots.of(name) for name in self._names])
        self._categories = [
            (name, slots.of(name), frozenset([None, "", *encoder["categories"]]))
            for name, encoder in manifest.encoders.items()
            if isinstance(encoder, dict) and "categories" in encoder
        ]
        _check_inputs(manifest, slots, what)
        self._arrange = [_arranger(graph_input, slots) for graph_input in manifest.inputs]
        self._graph = graph
        self._output = _OUTPUT[manifest.task]
        self._classes = manifest.classes if manifest.task == "multiclass" else None
        if self._output not in self._graph.outputs:
            raise PredictionError(f"{what} has the outputs {one_of(self._graph.outputs)}: {self._output!r} is expected")
        shape = (1,) if self._classes is None else (1, len(self._classes))
        if np.shape(self._graph.trial[self._output]) != shape:
            raise DamagedError(
                f"{what} answers one row with {self._output!r} of shape {np.shape(self._graph.trial[self._output])}: its "
                f"manifest says {shape}. Make another build champion"
            )

    @property
    def fields(self) -> tuple[Column, ...]:
        """What a request brings, in order."""
        return self._form.columns

    @property
    def graph(self) -> Graph:
        """The graph, to be run on its own inputs."""
        return self._graph

    @property
    def output(self) -> str:
        """The graph's output that a prediction's value is of."""
        return self._output

    def predict(
        self, requests: Sequence[Mapping[str, Any]], at: datetime, marks: list[float] | None = None
    ) -> list[Prediction]:
        """Answer ``n`` requests as of one instant (naive UTC), with one run of the graph.

        Args:
            marks: gets the readings of ``perf_counter`` when the rows were there, and when the graph had run.
        """
        rows, missing, ages = self._rows(requests, at)
        if marks is not None:
            marks.append(perf_counter())
        strangers = [(self._unlearned(row), self._rules.broken_by(row)) for row in rows]
        if "error" in (self._strictness.unknown_categories, self._strictness.out_of_schema):
            self._refuse_strangers(rows, strangers)
        with np.errstate(over="ignore"):
            feeds = {name: arrange(rows) for name, arrange in self._arrange}
        values: list[Any] = self._graph.run_feeds(feeds)[self._output].tolist()
        if marks is not None:
            marks.append(perf_counter())
        names, pick, model, reference = self._names, self._pick, self.manifest.model, self.reference
        labels = self._online.labels
        if self._classes is not None:
            values = [dict(zip(self._classes, value, strict=True)) for value in values]
        return [
            Prediction(
                value,
                dict(zip(names, pick(row), strict=True)),
                tables,
                at,
                model,
                reference,
                *of_row,
                dict(zip(labels, of_groups, strict=True)),
            )
            for value, row, tables, of_row, of_groups in zip(values, rows, missing, strangers, ages, strict=True)
        ]

    def features(self, requests: Sequence[Mapping[str, Any]], at: datetime) -> list[dict[str, Any]]:
        """What the model would see for ``n`` requests, raw, None where missing."""
        rows, *_ = self._rows(requests, at)
        return [dict(zip(self._names, self._pick(row), strict=True)) for row in rows]

    def _rows(
        self, requests: Sequence[Mapping[str, Any]], at: datetime
    ) -> tuple[list[Row], list[tuple[str, ...]], list[tuple[float | None, ...]]]:
        rows = [self._form.read(requests[0])] if len(requests) == 1 else self._form.read_all(requests)
        at_us = microseconds(at)
        missing: list[tuple[str, ...]] = [()] * len(rows)
        for row in rows:
            row.append(at)
        results = self._online.read(rows, at_us)
        ages = list(zip(*[of_group for _, of_group in results], strict=True)) or [()] * len(rows)
        for group, (of_group, _) in zip(self._online.groups, results, strict=True):
            for index, values in enumerate(of_group):
                if values is not None:
                    rows[index].extend(values)
                    continue
                rows[index].extend(group.nothing)
                if group.table_name not in missing[index]:
                    missing[index] = (*missing[index], group.table_name)
        if self._strictness.unknown_keys == "error" and any(missing):
            self._refuse_unknown_keys(rows, missing)
        if self._strictness.on_missing == "error" and any(missing):
            self._refuse_missing(rows, [of_group for of_group, _ in results], ages)
        for call, inputs in self._calls:
            arrays = {name: canonical([row[slot] for row in rows], kind) for name, slot, kind in inputs}
            for row, values in zip(rows, zip(*call(arrays, len(rows)), strict=True), strict=True):
                row.extend(values)
        return rows, missing, ages

    def _unlearned(self, row: Row) -> tuple[str, ...]:
        """The features with a category that the model has not learned; an empty text is no category."""
        return tuple([name for name, slot, categories in self._categories if row[slot] not in categories])

    def _refuse_strangers(self, rows: list[Row], strangers: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
        slots = {column.name: slot for slot, column in enumerate(self._form.columns)}
        categories = {name: slot for name, slot, _ in self._categories}
        problems = []
        for index, (row, (unlearned, broken)) in enumerate(zip(rows, strangers, strict=True)):
            of_row = []
            if self._strictness.unknown_categories == "error":
                of_row += [
                    f"{name!r} is {excerpt(row[categories[name]])}, which the model has not learned"
                    for name in unlearned
                ]
            if self._strictness.out_of_schema == "error":
                of_row += [f"{name!r} is {excerpt(row[slots[name]])}, which its schema refuses" for name in broken]
            problems += of_row if len(rows) == 1 else [f"request {index}: {problem}" for problem in of_row]
        if problems:
            raise self._form.error(problems)

    def _refuse_unknown_keys(self, rows: list[Row], missing: list[tuple[str, ...]]) -> None:
        problems = []
        for index, row in enumerate(rows):
            for position, group in enumerate(self._online.groups):
                problem = self._online.unknown(position, row) if group.table_name in missing[index] else None
                if problem is not None:
                    problems.append(problem if len(rows) == 1 else f"request {index}: {problem}")
        if problems:
            raise self._form.error(problems)

    def _refuse_missing(
        self, rows: list[Row], brought: list[list[Any]], ages: Sequence[tuple[float | None, ...]]
    ) -> None:
        problems = []
        for index, row in enumerate(rows):
            for position, group in enumerate(self._online.groups):
                if brought[position][index] is None:
                    problem = group.nothing_brought(row, ages[index][position])
                    problems.append(problem if len(rows) == 1 else f"request {index}: {problem}")
        raise self._form.error(problems)


def _refuse_external(view: ViewRecord, what: str) -> None:
    outside = [f"{joined.table_name!r} ({joined.external})" for joined in view.joins if joined.external]
    if outside:
        raise PredictionError(
            f"{what} joins {', '.join(outside)}, an external group: nothing of it is copied to the online store. Predict in "
            "batch, or train on a feature group with online=True that takes it as an input"
        )


class _Slots:
    """Where a row holds each named value: the request's, the prediction time, the groups', the on-demand functions'."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._slots: dict[str, int] = {}
        self._width = 0
        self.types: dict[str, ColumnType] = {}

    def add(self, name: str, column_type: ColumnType) -> None:
        self._slots[name] = self._width
        self.types[name] = column_type
        self._width += 1

    def of(self, name: str) -> int:
        if name not in self._slots:
            raise PredictionError(
                f"{self._what} needs {name!r}, which its manifest takes from nowhere: there are {one_of(self._slots)}. "
                "Make another build champion"
            )
        return self._slots[name]


def _check_inputs(manifest: ModelManifest, slots: _Slots, what: str) -> None:
    """Refuse a manifest whose graph inputs cannot be filled, before a request finds out."""
    for one in manifest.inputs:
        types = [slots.types[name] for name in one.features if slots.of(name) >= 0]
        fits = all(one.type in SIDES[kind].inputs for kind in types) and (
            len(types) == 1 or (types and one.type == "float32")
        )
        if not fits:
            raise DamagedError(
                f"the manifest of {what} fills the graph's input {one.name!r}, {one.type}, with {listed(one.features)} of types "
                f"{one_of(types)}: that is no input that a model of this library has. Restore the manifest from a copy, or make "
                "another build champion"
            )


def _picker(slots: list[int]) -> Callable[[Row], Sequence[Any]]:
    return itemgetter(*slots) if len(slots) > 1 else lambda row: [row[slot] for slot in slots]


def _arranger(graph_input: GraphInput, slots: _Slots) -> tuple[str, Callable[[list[Row]], np.ndarray]]:
    """How rows become one input of the graph: the arrays that ``Graph.feeds`` makes, without the columns between."""
    pick = _picker([slots.of(name) for name in graph_input.features])
    slot = slots.of(graph_input.features[0])
    if graph_input.type == "float32":
        return graph_input.name, lambda rows: np.array([pick(row) for row in rows], dtype=np.float32)
    if graph_input.type == "float64":
        return graph_input.name, lambda rows: np.array([[row[slot]] for row in rows], dtype=np.float64)
    if graph_input.type == "string":
        return graph_input.name, lambda rows: np.array(
            [["" if row[slot] is None else row[slot]] for row in rows], object
        )

    return graph_input.name, lambda rows: np.array([[_whole_number(row[slot])] for row in rows], dtype=np.int64)


def _whole_number(value: Any) -> int:
    if value is None:
        return MISSING_INTEGER
    if value.__class__ is int and abs(value) < _EXACT:
        return int(value)
    return int(whole_numbers(np.array([value], dtype=np.float64))[0])  # what a number column went through offline
