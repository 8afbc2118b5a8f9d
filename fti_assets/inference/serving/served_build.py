"""One build of a model, ready to answer: its request form, its groups, its on-demand functions and its graph."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import perf_counter
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.manifest import CLASSIFIES, OUTPUT_NAMES, Column, ViewRecord
from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.core.times import microseconds
from fti_assets.errors import PredictionError
from fti_assets.inference.serving.answers.late_fields import ManyAnswers, OneAnswer
from fti_assets.inference.serving.answers.layout import AnswerLayout
from fti_assets.inference.serving.answers.prediction import (
    Explain,
    Prediction,
    Predictions,
    prediction_of,
    predictions_of,
)
from fti_assets.inference.serving.refusals import Refusals, Strictness
from fti_assets.inference.serving.requests.form import RequestForm
from fti_assets.inference.serving.requests.overrides import OtherValues, Override, Overrides, put_overrides
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.inference.serving.rows.functions import BuildFunctions
from fti_assets.inference.serving.rows.online_features import LookupReport, OnlineFeatures
from fti_assets.inference.serving.rows.slots import Feeds, Row, Slots
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.loaded_build import LoadedBuild
from fti_assets.stores.online.store import OnlineStore

if TYPE_CHECKING:
    from fti_assets.core.rollouts.rollout import Rollout
    from fti_assets.inference.serving.explanations.build_explanations import BuildExplanations


class ServedBuild:
    """A build whose parts are all loaded and fit each other.

    Args:
        loaded: its manifest and graph, with the rows of the data that answers are explained against, if it kept samples.
        online: where its groups are looked up.
        strictness: what is refused of a request.
        import_module: gives the modules of on-demand functions by name; Python's own by default.

    Raises:
        PredictionError: the manifest, the graph, the on-demand modules and the online namespaces do not fit each other.
        NotMaterializedError: a namespace is not there.
        DamagedError: the graph cannot be run.
    """

    def __init__(
        self,
        build: LoadedBuild,
        online: OnlineStore,
        strictness: Strictness,
        *,
        import_module: Callable[[str], ModuleType] | None = None,
    ) -> None:
        manifest = build.manifest
        view = manifest.view
        what = f"model {manifest.model!r} ({manifest.reference})"
        self.manifest = manifest
        self.reference = manifest.reference
        self._background = None if build.samples is None else build.samples.background
        self._explanations: BuildExplanations | None = None
        self.dims = {one.features[0]: one.dim for one in manifest.inputs if one.dim is not None}
        """How many numbers the vectors among the features have."""
        self._form = RequestForm(view, what=f"model {manifest.model!r}", dims=self.dims)
        slots = Slots(what)
        for column in self._form.columns:
            slots.add(column.name, column.type)
        slots.add(view.prediction_time or "", "timestamp")
        _refuse_external(view, what)
        key_slots = [[slots.of(key.spine) for key in group.keys] for group in view.joins]
        self._online = OnlineFeatures(view.joins, online, key_slots)
        for group in view.joins:
            for joined_column in group.columns:
                slots.add(joined_column.feature, joined_column.type)
        joined_slots = [[slots.of(one.feature) for one in group.columns] for group in view.joins]
        self._functions = BuildFunctions(manifest, slots, import_module)
        self._width = slots.width
        self._overrides = Overrides(view.joins, self._online.labels, view.on_demand, slots, self._form, self.dims)
        self._layout = AnswerLayout.of(
            manifest, slots, self._form.columns, self._online.labels, self._overrides.features
        )
        group_slots = [{*of_group} for of_group in joined_slots]
        self._refusals = Refusals(
            strictness, self._form, self._layout, self._online, group_slots, self._functions.inputs
        )
        groups = [(of_group[0], len(of_group)) for of_group in joined_slots if of_group]
        self._feeds = Feeds(manifest.inputs, slots, groups)
        self._graph = build.graph
        self._output = OUTPUT_NAMES[manifest.task]
        self._classes = manifest.classes if manifest.answers_by_name else None

    rollout: "Rollout | None" = None
    """Which requests other builds answer."""
    builds: "Mapping[str, ServedBuild]" = MappingProxyType({})
    """Those builds by arm."""

    @property
    def alone(self) -> "ServedBuild":
        """The build as it answers without a rollout."""
        return self

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
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> list[Prediction]:
        """Answer ``n`` requests as of one instant (naive UTC), with one run of the graph.

        Args:
            marks: gets the readings of ``perf_counter`` when the rows were there, and when the graph had run.
            overrides: values for looked-up and computed features, one mapping for all requests or one a request.
            explain: whether to tell what each feature contributes to the answer, or to its score.
        """
        if overrides is None and not explain and len(requests) == 1 and self._functions.combining is None:
            return [self._predict_one(requests[0], at, marks)]
        explanations = self._own_explanations() if explain else None
        if explain == "score" and self.manifest.task == "composite":
            raise PredictionError(
                f"model {self.manifest.model!r} ({self.reference}) is a composite, which has no score of its own: explain=True tells "
                "what contributes to its answers"
            )
        columns = Columns(len(requests), self._form.read_all(requests))
        values, answers, row_overrides = self._answer(columns, at, overrides, marks)
        answers_list: list[Any] = values.tolist()
        if self._classes is not None:
            answers_list = [dict(zip(self._classes, value, strict=True)) for value in answers_list]
        model, reference = self.manifest.model, self.reference
        predictions = [
            prediction_of(value, at, model, reference, answers, index) for index, value in enumerate(answers_list)
        ]
        if row_overrides is not None:
            for prediction, override in zip(predictions, row_overrides, strict=True):
                prediction.overridden = override.names
        if explanations is not None:
            for prediction in predictions:
                prediction.explanation = explanations.explain(prediction.features, explain)
        return predictions

    def _predict_one(self, request: Mapping[str, Any], at: datetime, marks: list[float] | None) -> Prediction:
        """The answer to one request: what ``_answer`` gives for many, with less to begin with."""
        row: Row = self._form.read(request)
        row.append(at)
        ages, absent = self._online.extend(row, microseconds(at))
        if absent and self._refusals.of_absence:
            pairs = [(0, position) for position in absent]
            self._refusals.refuse_absence(1, lambda _: row, pairs, lambda _, group: ages[group])
        self._functions.extend(row, self._refusals)
        if marks is not None:
            marks.append(perf_counter())
        if self._refusals.of_strangers:
            self._refusals.refuse_strangers([row])
        [value] = self._feeds.run(self._graph, self._output, row)
        if marks is not None:
            marks.append(perf_counter())
        if self._classes is not None:
            value = dict(zip(self._classes, value, strict=True))
        answer = OneAnswer(self._layout, row, ages, absent)
        prediction = prediction_of(value, at, self.manifest.model, self.reference, answer, 0)
        prediction.arm = CHAMPION
        return prediction

    def predict_columns(
        self, columns: Mapping[Any, list[Any]], at: datetime, *, overrides: OtherValues | None = None
    ) -> Predictions:
        """``predict`` of requests in columns of one length."""
        request = self._form.read_columns(columns)
        rows = len(next(iter(columns.values()), ()))
        values, answers, _ = self._answer(Columns(rows, request), at, overrides, None)
        return predictions_of(values, at, self.manifest.model, self.reference, self._classes or (), answers)

    def features(
        self, requests: Sequence[Mapping[str, Any]], at: datetime, *, overrides: OtherValues | None = None
    ) -> list[dict[str, Any]]:
        """What the model would see for ``n`` requests, raw, None where missing."""
        columns = Columns(len(requests), self._form.read_all(requests))
        row_overrides = None if overrides is None else self._overrides.read(overrides, len(requests))
        answers = ManyAnswers(self._layout, columns, self._complete(columns, at, row_overrides), row_overrides)
        return [answers.features(index) for index in range(len(requests))]

    def _answer(
        self, columns: Columns, at: datetime, overrides: OtherValues | None, marks: list[float] | None
    ) -> tuple[np.ndarray, ManyAnswers, Sequence[Override] | None]:
        """What the graph gives for ``n`` requests in columns, what else there is to say, and what was overridden."""
        row_overrides = None if overrides is None else self._overrides.read(overrides, columns.rows)
        width = () if self._classes is None else (len(self._classes),)
        values = np.empty((0, *width), np.float32)
        if not columns.rows:
            return values, ManyAnswers(self._layout, *self._nothing(columns), row_overrides), row_overrides
        lookups = self._complete(columns, at, row_overrides)
        if marks is not None:
            marks.append(perf_counter())
        if self._refusals.of_strangers:
            self._refusals.refuse_strangers([columns.row(index, columns.width) for index in range(columns.rows)])
        answers = self._graph.answer(self._feeds.of(columns), self._output)
        values = self._functions.combine(answers, columns, self._refusals)
        if marks is not None:
            marks.append(perf_counter())
        return values, ManyAnswers(self._layout, columns, lookups, row_overrides), row_overrides

    def _nothing(self, columns: Columns) -> tuple[Columns, LookupReport]:
        """The columns of no rows, and what the groups bring to them."""
        while columns.width < self._width:
            columns.add([])
        return columns, LookupReport.of_nothing(len(self._online.groups))

    def _complete(self, columns: Columns, at: datetime, row_overrides: Sequence[Override] | None) -> LookupReport:
        """Put behind the values of ``n`` requests the time, what the groups bring and what the on-demand functions give."""
        request = [columns.plain(slot) for slot in range(columns.width)]
        columns.add([at] * columns.rows)
        lookups = self._online.extend_all(columns, request, microseconds(at))
        if self._refusals.of_absence and (absent := lookups.pairs()):
            self._refusals.refuse_absence(
                columns.rows,
                lambda index: columns.row(index, len(request)),
                absent if row_overrides is None else self._refusals.without_overridden(absent, row_overrides),
                lambda index, group: None if (age := lookups.ages[group][index].item()) != age else age,
            )
        if row_overrides is not None:
            put_overrides(columns, row_overrides)
        self._functions.extend_all(columns, row_overrides, self._refusals)
        return lookups

    def _own_explanations(self) -> "BuildExplanations":
        """What explains the build's answers, made when the first is asked for.

        Raises:
            PredictionError: the build keeps no rows to explain answers against.
        """
        if self._explanations is None:
            from fti_assets.inference.serving.explanations.build_explanations import BuildExplanations

            if self._background is None:
                raise PredictionError(
                    f"model {self.manifest.model!r} ({self.reference}) keeps no rows of its data to explain an answer against: it was "
                    "built by an earlier release. Train it again"
                )
            self._explanations = BuildExplanations(
                self._graph,
                self._output,
                self._functions.combining,
                self._background,
                types=self._layout.types,
                classes=self._classes,
                has_scores=self.manifest.task in CLASSIFIES,
                are_labels=self.manifest.task == "multilabel",
            )
        return self._explanations


Serve = Callable[[LoadedBuild, OnlineStore, Strictness], ServedBuild]
"""How a build that is loaded becomes one that answers: ``ServedBuild`` itself, or what puts something of its own in it."""


def _refuse_external(view: ViewRecord, what: str) -> None:
    outside = [f"{group.table_name!r} ({group.external})" for group in view.joins if group.external]
    if outside:
        raise PredictionError(
            f"{what} joins {', '.join(outside)}, an external group: nothing of it is copied to the online store. Predict in "
            "batch, or train on a feature group with online=True that takes it as an input"
        )
