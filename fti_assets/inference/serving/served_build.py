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
from fti_assets.inference.serving.explanation import Explainer
from fti_assets.inference.serving.online_features import Brought, OnlineFeatures
from fti_assets.inference.serving.overrides import Given, Override, Overrides
from fti_assets.inference.serving.prediction import Explanation, Prediction, Predictions, marked
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

    Args:
        background: rows of the data that answers are explained against, feature name to canonical array ``[b]``.

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
        background: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        view = manifest.view
        what = f"model {manifest.model!r} ({manifest.reference})"
        self.manifest = manifest
        self.reference = manifest.reference
        self._strictness = strictness
        self._background = background
        self._made_explainer: Explainer | None = None
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
        self._overrides = Overrides(view.joins, self._online.labels, view.on_demand, slots, self._form)
        self._group_slots = [{slots.of(one.feature) for one in joined.columns} for joined in view.joins]
        self._names = tuple(feature.name for feature in view.features)
        self._types = {name: slots.types[name] for name in self._names if slots.of(name) >= 0}
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
    def overridable(self) -> tuple[Column, ...]:
        """The features that a caller may give other values of, in order."""
        return self._overrides.columns

    @property
    def can_explain(self) -> bool:
        """Whether the build keeps rows to explain answers against."""
        return self._background is not None

    @property
    def graph(self) -> Graph:
        """The graph, to be run on its own inputs."""
        return self._graph

    @property
    def output(self) -> str:
        """The graph's output that a prediction's value is of."""
        return self._output

    def predict(
        self,
        requests: Sequence[Mapping[str, Any]],
        at: datetime,
        marks: list[float] | None = None,
        *,
        overrides: Given | None = None,
        explain: bool = False,
    ) -> list[Prediction]:
        """Answer ``n`` requests as of one instant (naive UTC), with one run of the graph.

        Args:
            marks: gets the readings of ``perf_counter`` when the rows were there, and when the graph had run.
            overrides: values for looked-up and computed features, one mapping for all requests or one a request.
            explain: whether to tell what each feature contributes.
        """
        explainer = self._explainer() if explain else None
        rows = [self._form.read(requests[0])] if len(requests) == 1 else self._form.read_all(requests)
        given = None if overrides is None else self._overrides.read(overrides, len(rows))
        brought = self._complete(rows, at, given)
        if marks is not None:
            marks.append(perf_counter())
        strangers = self._strangers(rows)
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
        predictions = [
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
        if given is not None:
            for prediction, override in zip(predictions, given, strict=True):
                prediction.overridden = override.names
        if explainer is not None:
            for prediction, row in zip(predictions, rows, strict=True):
                prediction.explanation = self._explained(explainer, row)
        return predictions

    def predict_columns(
        self, columns: Mapping[Any, Sequence[Any]], at: datetime, *, overrides: Given | None = None
    ) -> Predictions:
        """``predict`` of requests in columns of one length."""
        rows = self._form.read_columns(columns)
        given = None if overrides is None else self._overrides.read(overrides, len(rows))
        brought = self._complete(rows, at, given) if rows else Brought([], [])
        strangers = self._strangers(rows)
        width = () if self._classes is None else (len(self._classes),)
        values = np.empty((0, *width), np.float32)
        if rows:
            values = self._graph.answer(self._feeds.of(rows), self._output)
        labels, missing = self._online.labels, self._missing(brought)
        picked = list(zip(*map(self._pick, rows), strict=True)) or [()] * len(self._names)
        ages = np.array(brought.ages, dtype=np.float64).reshape(len(rows), len(labels))
        return Predictions(
            values,
            {name: list(of_name) for name, of_name in zip(self._names, picked, strict=True)},
            marked(
                [missing.get(index, ()) for index in range(len(rows))], [one.table_name for one in self._online.groups]
            ),
            at,
            self.manifest.model,
            self.reference,
            marked([unlearned for unlearned, _ in strangers], [name for name, *_ in self._categories]),
            marked([broken for _, broken in strangers], self._rules.columns),
            dict(zip(labels, ages.T, strict=True)),
            marked([one.names for one in given or ()], self._overrides.features),
            self._classes or (),
        )

    def features(
        self, requests: Sequence[Mapping[str, Any]], at: datetime, *, overrides: Given | None = None
    ) -> list[dict[str, Any]]:
        """What the model would see for ``n`` requests, raw, None where missing."""
        rows = self._form.read_all(requests)
        self._complete(rows, at, None if overrides is None else self._overrides.read(overrides, len(rows)))
        return [dict(zip(self._names, self._pick(row), strict=True)) for row in rows]

    def _complete(self, rows: list[Row], at: datetime, given: Sequence[Override] | None) -> Brought:
        """Put behind the values of ``n`` requests the time, what the groups bring and what the on-demand functions give."""
        for row in rows:
            row.append(at)
        brought = self._online.extend(rows, microseconds(at))
        if brought.absent:
            absent = brought.absent if given is None else self._not_given(brought.absent, given)
            if self._strictness.unknown_keys == "error":
                self._refuse_unknown_keys(rows, absent)
            if self._strictness.on_missing == "error" and absent:
                self._refuse_missing(rows, absent, brought.ages)
        if given is not None:
            _override(rows, given)
        for call, inputs in self._calls:
            arrays = {name: canonical([row[slot] for row in rows], kind) for name, slot, kind in inputs}
            for row, values in zip(rows, zip(*call(arrays, len(rows)), strict=True), strict=True):
                row.extend(values)
            if given is not None:
                _override(rows, given)
        return brought

    def _not_given(self, absent: Sequence[tuple[int, int]], given: Sequence[Override]) -> list[tuple[int, int]]:
        """The rows and groups that bring nothing, without those of which all values were given."""
        return [
            (index, position)
            for index, position in absent
            if not self._group_slots[position] <= given[index].values.keys()
        ]

    def _strangers(self, rows: list[Row]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        if not self._categories and not self._rules.columns:
            return [((), ())] * len(rows)
        strangers = [(self._unlearned(row), self._rules.broken_by(row)) for row in rows]
        if self._refuses_strangers:
            self._refuse_strangers(rows, strangers)
        return strangers

    def _explainer(self) -> Explainer:
        if self._made_explainer is None:
            if self._background is None:
                raise PredictionError(
                    f"model {self.manifest.model!r} ({self.reference}) keeps no rows of its data to explain an answer against: it was "
                    "built by an earlier release. Train it again"
                )
            self._made_explainer = Explainer(self._graph, self._output, self._background)
        return self._made_explainer

    def _explained(self, explainer: Explainer, row: Row) -> Explanation:
        raw = dict(zip(self._names, self._pick(row), strict=True))
        columns = {name: canonical([raw[name]], self._types[name]) for name in explainer.features}
        found = explainer.contributions(columns)
        base: Any = explainer.base.tolist()
        if self._classes is None:
            contributions: dict[str, Any] = dict(zip(explainer.features, found.tolist(), strict=True))
        else:
            base = dict(zip(self._classes, base, strict=True))
            contributions = {
                name: dict(zip(explainer.features, of_class, strict=True))
                for name, of_class in zip(self._classes, found.T.tolist(), strict=True)
            }
        return Explanation(base, contributions, explainer.rows, explainer.is_exact)

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

    def _refuse_unknown_keys(self, rows: list[Row], absent: Sequence[tuple[int, int]]) -> None:
        problems = []
        for index, position in sorted(absent):
            problem = self._online.unknown(position, rows[index])
            if problem is not None:
                problems.append(problem if len(rows) == 1 else f"request {index}: {problem}")
        if problems:
            raise self._form.error(problems)

    def _refuse_missing(
        self, rows: list[Row], absent: Sequence[tuple[int, int]], ages: Sequence[Sequence[float | None]]
    ) -> None:
        problems = []
        for index, position in sorted(absent):
            problem = self._online.groups[position].nothing_brought(rows[index], ages[index][position])
            problems.append(problem if len(rows) == 1 else f"request {index}: {problem}")
        raise self._form.error(problems)


def _override(rows: list[Row], given: Sequence[Override]) -> None:
    """Put given values in place of those that are there by now."""
    for row, override in zip(rows, given, strict=True):
        for slot, value in override.values.items():
            if slot < len(row):
                row[slot] = value


def _refuse_external(view: ViewRecord, what: str) -> None:
    outside = [f"{joined.table_name!r} ({joined.external})" for joined in view.joins if joined.external]
    if outside:
        raise PredictionError(
            f"{what} joins {', '.join(outside)}, an external group: nothing of it is copied to the online store. Predict in "
            "batch, or train on a feature group with online=True that takes it as an input"
        )
