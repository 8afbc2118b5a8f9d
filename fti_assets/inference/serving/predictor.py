"""The predictor: what an app imports to ask a model, with numpy and onnxruntime alone."""

import os
import weakref
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, overload

from fti_assets.core import clock
from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import PredictionError, excerpt
from fti_assets.inference.serving.answers.prediction import Explain, Explanation, Prediction, Predictions
from fti_assets.inference.serving.forks import flights
from fti_assets.inference.serving.loading import ServingStores, log_writer
from fti_assets.inference.serving.refusals import OnMissing, Report, Strictness, UnknownKeys
from fti_assets.inference.serving.requests.form import is_explained, is_mapping, moment
from fti_assets.inference.serving.requests.lists import Request, requests_of
from fti_assets.inference.serving.requests.overrides import OtherValues
from fti_assets.inference.serving.served_build import ServedBuild
from fti_assets.inference.serving.served_model import Follow, ServedModel
from fti_assets.inference.serving.threads import PredictionThreads
from fti_assets.stores.models.graphs.execution import execution_providers

if TYPE_CHECKING:
    from fti_assets.inference.serving.log.writer import LogWriter
    from fti_assets.inference.serving.rollout.shadow import Count, Shadow

__all__ = ["Explanation", "Prediction", "Predictions", "Predictor"]

_INLINE = 16


@checked_arguments(instead="fti.Predictor.load('delay_net'), with the name of a model")
class Predictor:
    """Answers requests to one model, from any thread, following its champion or pinned to one build.

    >>> predictor = Predictor.load("delay_net")  # doctest: +SKIP
    >>> predictor.predict({"flight_id": 7, "origin": "JFK"}).value  # doctest: +SKIP
    0.23
    """

    _shadows: "Shadow"

    def __init__(self, *, served: ServedModel, log: "LogWriter | None" = None) -> None:
        self._served = served
        self._log = log
        self._threads = PredictionThreads(served.name)
        _predictors.add(self)

    @classmethod
    @checked_arguments()
    def load(
        cls,
        model: str,
        *,
        models: str | Path | None = None,
        online: str | Path | None = None,
        build: str | None = None,
        unknown_keys: UnknownKeys = "missing",
        unknown_categories: Report = "report",
        out_of_schema: Report = "report",
        on_missing: OnMissing = "impute",
        follow: Follow = "request",
        log: str | Path | None = None,
        redact: Collection[str] = (),
        providers: str | Sequence[str] | None = None,
    ) -> "Predictor":
        """Load a model's champion, or one build, with everything it needs.

        Args:
            models: the model store's folder; ``models`` under ``FTI_HOME`` by default, and ``FTI_HOME`` is ``./.fti`` by default.
            online: the online store, a folder or ``redis://host:port/db?prefix=name``; ``online`` under ``FTI_HOME`` by default.
            build: the build to stay with, such as ``v1/20130501T000000Z-1f9ac3d2``; by default follow the champion.
            unknown_keys: what a key without any row in a group is, "missing" features or an "error".
            unknown_categories: what a category is that the model has not learned, a "report" in the prediction's ``unknown``, or
                an "error".
            out_of_schema: what a field is that the spine's schema would refuse, and a number that the model gets rounded or as infinite, a
                "report" in the prediction's ``out_of_schema``, or an "error".
            on_missing: what a group is that brings no row to a request, or a stale one: its features are missing, which the model
                imputes ("impute"), or an "error" with the group, the key and the stale row's age.
            follow: when to look for a new champion: at each "request", of which those within a millisecond look once, or at
                each "call" of ``follow``, so that no request waits for one to load.
            log: the folder of a prediction log, into which answers are written by a thread; by default they are not logged.
            redact: request fields and features that are never written to the log in clear: left out, or hashed with the secret in
                ``FTI_LOG_KEY``.
            providers: the execution providers of onnxruntime that the graph runs on, the preferred one first: ``"cuda"`` or
                ``"cuda,cpu"``; what ``FTI_PROVIDERS`` says by default, and the CPU without it, which runs what another cannot.

        Raises:
            MissingExtraError: the online store is a server, and its client is not installed.
            NoChampionError: the model has no champion.
            NotMaterializedError: the build or an online namespace that it needs is not there.
            DamagedError: the build's files are not what was written.
            PredictionError: the app's on-demand modules or the namespaces are not what the model learned from, or the onnxruntime that
                is installed has no such provider, or cannot use it here.
            StoreError: the log's folder cannot be made.
        """
        strictness = Strictness(unknown_keys, unknown_categories, out_of_schema, on_missing)
        stores = ServingStores.at(models, online, providers=providers)
        writer = log_writer(log, redact)
        return cls(served=stores.model(model, build=build, strictness=strictness, follow=follow), log=writer)

    @classmethod
    @checked_arguments()
    def load_many(
        cls,
        names: Sequence[str],
        *,
        models: str | Path | None = None,
        online: str | Path | None = None,
        unknown_keys: UnknownKeys = "missing",
        unknown_categories: Report = "report",
        out_of_schema: Report = "report",
        on_missing: OnMissing = "impute",
        follow: Follow = "request",
        providers: str | Sequence[str] | None = None,
    ) -> "dict[str, Predictor]":
        """Load the champions of several models as predictors, by name, that share one online store and its connections.

        On Redis that is one connection a thread for all of them, on SQLite one a thread for all that read the same groups. They close
        when the last of the predictors is closed.

        Args:
            names: of the models.
            models: as in ``load``, and so all others.

        Raises:
            PredictionError: a name comes twice; else as ``load``, and then none is loaded.

        >>> predictors = Predictor.load_many(["delay_net", "cancel_net"])  # doctest: +SKIP
        >>> predictors["cancel_net"].predict({"flight_id": 7, "origin": "JFK"}).value  # doctest: +SKIP
        0.01
        """
        if len(set(names)) < len(names):
            raise PredictionError(f"the models to load are {excerpt(list(names))}: one of them comes twice")
        strictness = Strictness(unknown_keys, unknown_categories, out_of_schema, on_missing)
        stores = ServingStores.at(models, online, providers=providers)
        return {
            name: cls(served=stores.model(name, build=None, strictness=strictness, follow=follow)) for name in names
        }

    @classmethod
    @checked_arguments()
    def open_bundle(
        cls,
        path: str | Path,
        *,
        sha256: str | None = None,
        unknown_keys: UnknownKeys = "missing",
        unknown_categories: Report = "report",
        out_of_schema: Report = "report",
        on_missing: OnMissing = "impute",
        log: str | Path | None = None,
        redact: Collection[str] = (),
        providers: str | Sequence[str] | None = None,
    ) -> "Predictor":
        """Open a model that ``fti bundle`` wrote into one file, with its features and its on-demand code.

        It answers as the predictor on the stores did when the bundle was made, and refuses to answer later than the bundle says. The file
        is read once, into memory, and each part of it is compared with its hash before it is used. Its on-demand code is run: open
        only bundles that you trust, and give ``sha256`` for one that came a long way.

        Args:
            path: the file.
            sha256: of the whole file, as ``fti bundle`` says it.
            unknown_keys: as in ``load``, and so all others.

        Raises:
            NotMaterializedError: there is no file.
            DamagedError: it is not what was written, or no bundle.
            StoreError: another release wrote it, or the log's folder cannot be made.
            PredictionError: the onnxruntime that is installed answers otherwise than when the build was made, or has no such provider.

        >>> predictor = Predictor.open_bundle("delay_net.zip")  # doctest: +SKIP
        >>> predictor.predict({"flight_id": 7, "origin": "JFK"}).value  # doctest: +SKIP
        0.23
        """
        from fti_assets.inference.serving.bundle.opening import Bundle

        strictness = Strictness(unknown_keys, unknown_categories, out_of_schema, on_missing)
        own_providers = execution_providers(providers)
        bundle = Bundle.open(Path(path), sha256=sha256)
        writer = log_writer(log, redact)
        model = ServedModel(
            bundle.record.model,
            bundle.models,
            bundle.online,
            build=bundle.record.build,
            strictness=strictness,
            follow="request",
            providers=own_providers,
            serve=bundle.serve,
        )
        return cls(served=model, log=writer)

    @property
    def shadows(self) -> "Shadow":
        """What asks the shadow of a rollout."""
        # Made when it is first asked for: most models have no rollout. Of two threads that make one, both get the first.
        if "_shadows" not in vars(self):
            from fti_assets.inference.serving.rollout.shadow import Shadow

            vars(self).setdefault("_shadows", Shadow())
        return self._shadows

    @property
    def build(self) -> str:
        """The build that serves."""
        return self.serving.reference

    @property
    def serving(self) -> ServedBuild:
        """The build that serves, with its manifest; it stays usable when another takes its place.

        Raises:
            PredictionError: the predictor is closed.
        """
        return self._served.build

    def close(self) -> None:
        """Let go of the build and the store, whose connections close when no prediction under way uses them any more; finish the log.

        Closing twice is allowed. What is asked afterwards is a ``PredictionError``.
        """
        self._served.close()
        self._threads.close()
        if "_shadows" in vars(self):
            self._shadows.close()
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def follow(self) -> str:
        """Switch to the champion of now, if it is another one, and say which build serves.

        A champion that cannot be loaded is logged, and the one before it serves on.
        """
        self._served.follow()
        return self.build

    @overload
    def predict(
        self,
        request: Request,
        *,
        at: datetime | str | None = None,
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        request: Sequence[Request],
        *,
        at: datetime | str | None = None,
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> list[Prediction]: ...
    def predict(
        self,
        request: Request | Sequence[Request],
        *,
        at: datetime | str | None = None,
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> Prediction | list[Prediction]:
        """Answer a request, or a list of them with one run of the graph.

        Args:
            request: field to value: what the feature view takes from the spine.
            at: the prediction time, a datetime or ISO text, naive for UTC; now by default.
            overrides: what if: values in place of looked-up features and of outputs of on-demand functions, by the feature's name or as
                ``{"weather.wind": 30.0}``; None for a missing one. For a list of requests it may be a list too. On-demand functions
                are given the overridden values. Such answers are not logged.
            explain: whether each prediction tells what each feature contributes to it, as Shapley values against rows that the
                build keeps; it takes some thousand rows of the graph a prediction. ``"score"`` explains the log-odds in place of the
                probability, exactly where the graph adds up trees or weights.

        Raises:
            RequestError: a request or an override is wrong, and the error lists everything that is; or ``explain`` is neither a
                bool nor ``"score"``.
            PredictionError: a namespace does not reach back to ``at``, an on-demand function failed, the build keeps no rows to explain
                against, or the predictor is closed.
        """
        start = perf_counter()
        when = clock.now() if at is None else moment(at)
        explain = is_explained(explain)
        with flights:
            serving = self._served.current()
            if type(request) is dict or is_mapping(request):
                requests: Sequence[Request] = (request,)  # type: ignore[assignment]
                answers = serving.predict(requests, when, overrides=overrides, explain=explain)
                answer: Prediction | list[Prediction] = answers[0]
            else:
                requests = requests_of(request)
                answers = []
                if requests:
                    answers = serving.predict(requests, when, overrides=overrides, explain=explain)
                answer = answers
        if self._log is not None and answers:
            self._note(self._log, requests, answers, perf_counter() - start)
        return answer

    def _note(
        self, log: "LogWriter", requests: Sequence[Request], predictions: list[Prediction], latency: float
    ) -> None:
        request_id = log.new_id()
        for prediction in predictions:
            prediction.request_id = request_id
        log.add(request_id, requests, predictions, latency=latency)
        self.shadow(request_id, requests, predictions, log)

    def predict_columns(
        self, requests: Any, *, at: datetime | str | None = None, overrides: OtherValues | None = None
    ) -> Predictions:
        """Answer requests that come in columns, with the answers in columns: the same ones as of ``predict``.

        Args:
            requests: a mapping of field to an array or a list (of vectors an array ``[n, dim]``, too), an Arrow table or record batch,
                or a pandas or polars frame.
            at: as in ``predict``.
            overrides: as in ``predict``.

        Raises:
            RequestError: a request is wrong; the error names the request by its place and lists everything that is.
            PredictionError: as ``predict``.

        >>> answers = predictor.predict_columns({"flight_id": [7, 8], "origin": ["JFK", "LGA"]})  # doctest: +SKIP
        >>> answers.values, answers.ages["weather_v1"]  # doctest: +SKIP
        (array([0.23, 0.31], dtype=float32), array([3600., 7200.]))
        """
        start = perf_counter()
        when = clock.now() if at is None else moment(at)
        from fti_assets.inference.serving.requests.tables import columns_of

        with flights:
            serving = self._served.current()
            columns = columns_of(requests, serving.dims)
            answers = serving.predict_columns(columns, when, overrides=overrides)
        if self._log is not None and len(answers):
            latency = perf_counter() - start
            answers.request_id = self._log.new_id()
            rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            predictions = list(answers)
            self._log.add(answers.request_id, rows, predictions, latency=latency)
            self.shadow(answers.request_id, rows, predictions, self._log)
        return answers

    @overload
    async def predict_async(
        self,
        request: Request,
        *,
        at: datetime | str | None = None,
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> Prediction: ...
    @overload
    async def predict_async(
        self,
        request: Sequence[Request],
        *,
        at: datetime | str | None = None,
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> list[Prediction]: ...
    async def predict_async(
        self,
        request: Request | Sequence[Request],
        *,
        at: datetime | str | None = None,
        overrides: OtherValues | None = None,
        explain: Explain = False,
    ) -> Prediction | list[Prediction]:
        """``predict`` that does not keep an event loop waiting for a server; takes and raises the same.

        It runs in one of four threads of the predictor, but at once where that is faster: up to 16 requests to an embedded
        store that are not explained, with no champion to load.
        """
        self.serving  # noqa: B018 - refuses a closed one
        when = clock.now() if at is None else moment(at)
        explain = is_explained(explain)
        few = is_mapping(request) or len(requests_of(request)) <= _INLINE
        if self._served.is_embedded and self._served.is_current() and few and not explain:
            return self.predict(request, at=when, overrides=overrides)
        import asyncio

        predict: Callable[..., Any] = self.predict
        call = partial(predict, request, at=when, overrides=overrides, explain=explain)
        return await asyncio.wrap_future(self._threads.submit(call, while_open=lambda: self.serving))

    @overload
    def features(
        self, request: Request, *, at: datetime | str | None = None, overrides: OtherValues | None = None
    ) -> dict[str, Any]: ...
    @overload
    def features(
        self, request: Sequence[Request], *, at: datetime | str | None = None, overrides: OtherValues | None = None
    ) -> list[dict[str, Any]]: ...
    def features(
        self,
        request: Request | Sequence[Request],
        *,
        at: datetime | str | None = None,
        overrides: OtherValues | None = None,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The raw features that ``predict`` would give the model; takes and raises the same."""
        when = clock.now() if at is None else moment(at)
        with flights:
            serving = self._served.current()
            if is_mapping(request):
                return serving.features((request,), when, overrides=overrides)[0]  # type: ignore[arg-type]
            requests = requests_of(request)
            return serving.features(requests, when, overrides=overrides) if requests else []

    def shadow(
        self,
        request_id: str,
        requests: Sequence[Request],
        predictions: Sequence[Prediction],
        log: "LogWriter | None",
        count: "Count | None" = None,
    ) -> None:
        """Let the shadow of a rollout, if there is one, predict what was answered, behind the answer and into the log.

        An answer to other values of features is no answer to the request, so it has no shadow.
        """
        serving = self._served.last
        if serving is not None and serving.rollout is not None and serving.rollout.kind == "shadow":
            from fti_assets.inference.serving.rollout.arms import ServedArms

            assert isinstance(serving, ServedArms)
            pairs = [pair for pair in zip(requests, predictions, strict=True) if not pair[1].overridden]
            if pairs:
                answers = [answer.value for _, answer in pairs]
                at = predictions[0].at
                self.shadows.add(serving, request_id, [one for one, _ in pairs], at, answers, log=log, count=count)


_predictors: "weakref.WeakSet[Predictor]" = weakref.WeakSet()


def _unlock() -> None:
    """A thread that held a lock while the process forked is not there in the child, nor are those of an executor."""
    for predictor in _predictors:
        predictor._threads.start_anew()
        vars(predictor).pop("_shadows", None)


os.register_at_fork(after_in_child=_unlock)
