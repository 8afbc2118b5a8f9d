"""One build of a model, ready to answer: its request form, its groups, its on-demand functions and its graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from time import perf_counter
from typing import Any, Literal

import numpy as np

from fti_assets.core.columns import canonical
from fti_assets.core.manifest import Column, ModelManifest, ViewRecord
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.times import microseconds
from fti_assets.core.types import ColumnType
from fti_assets.errors import DamagedError, PredictionError, excerpt, one_of
from fti_assets.inference.serving.online_features import Brought, OnlineFeatures
from fti_assets.inference.serving.prediction import Prediction
from fti_assets.inference.serving.request import RequestForm
from fti_assets.inference.serving.request_rules import RequestRules
from fti_assets.inference.serving.slots import Feeds, Row, Slots, check_inputs, picker
from fti_assets.stores.models.graph import Graph
from fti_assets.stores.online.store import OnlineStore

UnknownKeys = Literal["missing", "error"]
OnMissing = Literal["impute", "error"]
Report = Literal["report", "error"]

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
        self._refuses_strangers = "error" in (strictness.unknown_categories, strictness.out_of_schema)
        self._form = RequestForm(view, what=f"model {manifest.model!r}")
        self._rules = RequestRules(view.rules, self._form.columns)
        slots = Slots(what)
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
        self._pick = picker([slots.of(name) for name in self._names])
        self._categories = [
            (name, slots.of(name), frozenset([None, "", *encoder["categories"]]))
            for name, encoder in manifest.encoders.items()
            if isinstance(encoder, dict) and "categories" in encoder
        ]
        check_inputs(manifest, slots, what)
        self._feeds = Feeds(manifest.inputs, slots)
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
        rows, brought = self._rows(requests, at)
        if marks is not None:
            marks.append(perf_counter())
        strangers = [(self._unlearned(row), self._rules.broken_by(row)) for row in rows]
        if self._refuses_strangers:
            self._refuse_strangers(rows, strangers)
        values: list[Any]
        if len(rows) == 1:
            values = self._feeds.run(self._graph, self._output, rows[0])
        else:
            values = self._graph.answer(self._feeds.of(rows), self._output).tolist()
        if marks is not None:
            marks.append(perf_counter())
        names, pick, model, reference = self._names, self._pick, self.manifest.model, self.reference
        labels, missing = self._online.labels, self._missing(brought)
        if self._classes is not None:
            values = [dict(zip(self._classes, value, strict=True)) for value in values]
        return [
            Prediction(
                value,
                dict(zip(names, pick(row), strict=True)),
                missing.get(index, ()),
                at,
                model,
                reference,
                *of_row,
                dict(zip(labels, ages, strict=True)),
            )
            for index, (value, row, of_row, ages) in enumerate(zip(values, rows, strangers, brought.ages, strict=True))
        ]

    def features(self, requests: Sequence[Mapping[str, Any]], at: datetime) -> list[dict[str, Any]]:
        """What the model would see for ``n`` requests, raw, None where missing."""
        rows, *_ = self._rows(requests, at)
        return [dict(zip(self._names, self._pick(row), strict=True)) for row in rows]

    def _rows(self, requests: Sequence[Mapping[str, Any]], at: datetime) -> tuple[list[Row], Brought]:
        rows = [self._form.read(requests[0])] if len(requests) == 1 else self._form.read_all(requests)
        for row in rows:
            row.append(at)
        brought = self._online.extend(rows, microseconds(at))
        if brought.absent:
            if self._strictness.unknown_keys == "error":
                self._refuse_unknown_keys(rows, brought)
            if self._strictness.on_missing == "error":
                self._refuse_missing(rows, brought)
        for call, inputs in self._calls:
            arrays = {name: canonical([row[slot] for row in rows], kind) for name, slot, kind in inputs}
            for row, values in zip(rows, zip(*call(arrays, len(rows)), strict=True), strict=True):
                row.extend(values)
        return rows, brought

    def _missing(self, brought: Brought) -> dict[int, tuple[str, ...]]:
        """The tables that brought nothing to a row, each once, of the rows that have some."""
        missing: dict[int, tuple[str, ...]] = {}
        for index, position in brought.absent:
            table, of_row = self._online.groups[position].table_name, missing.get(index, ())
            missing[index] = of_row if table in of_row else (*of_row, table)
        return missing

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

    def _refuse_unknown_keys(self, rows: list[Row], brought: Brought) -> None:
        problems = []
        for index, position in sorted(brought.absent):
            problem = self._online.unknown(position, rows[index])
            if problem is not None:
                problems.append(problem if len(rows) == 1 else f"request {index}: {problem}")
        if problems:
            raise self._form.error(problems)

    def _refuse_missing(self, rows: list[Row], brought: Brought) -> None:
        problems = []
        for index, position in sorted(brought.absent):
            problem = self._online.groups[position].nothing_brought(rows[index], brought.ages[index][position])
            problems.append(problem if len(rows) == 1 else f"request {index}: {problem}")
        raise self._form.error(problems)


def _refuse_external(view: ViewRecord, what: str) -> None:
    outside = [f"{joined.table_name!r} ({joined.external})" for joined in view.joins if joined.external]
    if outside:
        raise PredictionError(
            f"{what} joins {', '.join(outside)}, an external group: nothing of it is copied to the online store. Predict in "
            "batch, or train on a feature group with online=True that takes it as an input"
        )
