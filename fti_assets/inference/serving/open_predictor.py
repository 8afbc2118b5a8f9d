"""A predictor that is open: it answers from any thread, follows its champion, keeps a log, and asks the shadow of a rollout."""

import os
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, overload

from fti_assets.core import clock
from fti_assets.inference.serving.answers.prediction import Explain, Prediction, Predictions
from fti_assets.inference.serving.forks import flights
from fti_assets.inference.serving.requests.form import is_explained, is_mapping, moment
from fti_assets.inference.serving.requests.lists import Request, requests_of
from fti_assets.inference.serving.requests.overrides import OtherValues
from fti_assets.inference.serving.served_build import ServedBuild
from fti_assets.inference.serving.served_model import ServedModel
from fti_assets.inference.serving.threads import PredictionThreads

if TYPE_CHECKING:
    from fti_assets.inference.serving.log.writer import LogWriter
    from fti_assets.inference.serving.rollout.shadow import Count, Shadow

_INLINE = 16


class OpenPredictor:
    """What a predictor does from its opening to its close, wherever its model comes from.

    Args:
        served: the model that answers.
        log: what its answers are written to.
    """

    _shadows: "Shadow"
    _shadows_end: "weakref.finalize[[], OpenPredictor]"

    def __init__(self, *, served: ServedModel, log: "LogWriter | None" = None) -> None:
        self._served = served
        self._log = log
        self._threads = PredictionThreads(served.name)
        _predictors.add(self)

    @property
    def shadows(self) -> "Shadow":
        """What asks the shadow of a rollout."""
        # Made when it is first asked for: most models have no rollout. Of two threads that make one, both get the first.
        if "_shadows" not in vars(self):
            from fti_assets.inference.serving.rollout.shadow import Shadow

            made = Shadow()
            if vars(self).setdefault("_shadows", made) is made:
                # Of a predictor that nobody has any more and nobody closed, the thread would run for ever.
                self._shadows_end = weakref.finalize(self, made.end)
                self._shadows_end.atexit = False
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


_predictors: "weakref.WeakSet[OpenPredictor]" = weakref.WeakSet()


def _unlock() -> None:
    """A thread that held a lock while the process forked is not there in the child, nor are those of an executor."""
    for predictor in _predictors:
        predictor._threads.start_anew()
        if vars(predictor).pop("_shadows", None) is not None and "_shadows_end" in vars(predictor):
            predictor._shadows_end.detach()


os.register_at_fork(after_in_child=_unlock)
