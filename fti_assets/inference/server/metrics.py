"""What a server counts, for Prometheus."""

import asyncio
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.inference.server.endpoints.endpoint import Stages
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.rollout.shadow import ShadowReport

Names = tuple[str, ...]
Times = tuple[float, ...]
"""The seconds of a request: in all, to read it, and of one that was answered to look up and to run the graph."""

Row = tuple[Names, Names, Mapping[str, float | None]]
"""What was missing and unknown of a row, and the ages of its groups."""

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which several workers count together; prometheus_client reads it when it is imported."""

_PENDING = 1_000
"""So many requests and rows, or values of a histogram, are kept before they are counted."""
_FLUSH_SECONDS = 0.5
"""After so long, values that are kept are seen by the worker that is scraped."""
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_AGES = (1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0, 30 * 86400.0)


class _Observations:
    """Values on their way into a histogram.

    They are counted together: ``observe`` takes a lock for each value twice, and seven values a request cost as much as its look-ups.
    """

    def __init__(self, child: Any, bounds: Sequence[float]) -> None:
        self._child = child
        self._bounds = bounds
        self._values: list[float] = []

    def add(self, values: Iterable[float]) -> None:
        self._values += values
        if len(self._values) >= _PENDING:
            self.flush()

    def flush(self) -> None:
        """Count what was added, as ``observe`` does one by one."""
        values, self._values = self._values, []
        if not values:
            return
        places = np.searchsorted(self._bounds, values)
        counts = np.bincount(places, minlength=len(self._bounds) + 1).tolist()
        for bucket, count in zip(self._child._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._child._sum.inc(sum(values))


class _Tally:
    """What is on its way into a counter, which takes a lock for each step; for the event loop alone.

    Args:
        child: the counter.
        at_once: whether nothing waits, since another worker may be asked.
    """

    def __init__(self, child: Any, *, at_once: bool) -> None:
        self._child = child
        self._amount = 0.0
        self._at_once = at_once

    def add(self, amount: float = 1.0) -> None:
        self._amount += amount
        if self._at_once:
            self.flush()

    def flush(self) -> None:
        """Count what was added."""
        amount, self._amount = self._amount, 0.0
        if amount:
            self._child.inc(amount)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter("fti_requests", "Requests answered", ["model", "status"], registry=registry)
        self._seconds = Histogram(
            "fti_request_seconds",
            "Seconds by stage: read (of the body), lookup (of features), graph, and total",
            ["model", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._predictions = Counter(
            "fti_predictions",
            "Rows predicted, by the build that answered",
            ["model", "build", "arm"],
            registry=registry,
        )
        self._missing = Counter(
            "fti_missing", "Rows for which a group had no row, or a stale one", ["model", "group"], registry=registry
        )
        self._unknown = Counter(
            "fti_unknown",
            "Rows with a category that the model has not learned",
            ["model", "feature"],
            registry=registry,
        )
        self._ages = Histogram(
            "fti_feature_age_seconds",
            "Age of a group's row at the prediction time",
            ["model", "group"],
            buckets=_AGES,
            registry=registry,
        )
        self._logged = Counter("fti_logged", "Answers written to the prediction log", ["model"], registry=registry)
        self._dropped = Counter(
            "fti_log_dropped",
            "Answers that the prediction log had to drop: queue (of memory), disk, size (of files not taken in) or form (of a value)",
            ["model", "reason"],
            registry=registry,
        )
        arm = ["model", "arm"]
        self._shadowed = Counter(
            "fti_shadow_rows",
            "Rows that a shadow predicted, failed at, or dropped",
            [*arm, "result"],
            registry=registry,
        )
        self._shadow_seconds = Histogram(
            "fti_shadow_seconds", "Seconds of a shadow for one request", arm, buckets=_SECONDS, registry=registry
        )
        self._distance = Counter(
            "fti_shadow_distance",
            "Sum over rows of how far a shadow's answer is from the champion's",
            arm,
            registry=registry,
        )
        self._disagreed = Counter(
            "fti_shadow_disagreements", "Rows that a shadow decides otherwise than the champion", arm, registry=registry
        )
        self._in_flight = Gauge(
            "fti_requests_in_flight", "Requests being answered", registry=registry, multiprocess_mode="livesum"
        )
        busy = Counter(
            "fti_busy_seconds",
            "Seconds spent on look-ups and graphs; their rate, over the number of workers, is the share of time that they work",
            registry=registry,
        )
        self._goals = Gauge(
            "fti_latency_goal_seconds", "Latency goal", ["model"], registry=registry, multiprocess_mode="max"
        )
        self._late = Counter("fti_late", "Requests answered later than the latency goal", ["model"], registry=registry)
        self._goal_of: dict[str, float] = {}
        self._together = FOLDER in os.environ  # with other workers, one of which is asked for what all counted
        self._pending: list[_Observations | _Tally] = []
        self._busy = self._tally(busy)
        self._answered = cache(lambda model, status: self._tally(self._requests.labels(model, status)))
        self._answers = cache(lambda *labels: self._tally(self._predictions.labels(*labels)))
        self._being_answered = 0
        self._stage = cache(lambda model, stage: self._observations(self._seconds.labels(model, stage), _SECONDS))
        self._age = cache(lambda model, group: self._observations(self._ages.labels(model, group), _AGES))
        self._timer: asyncio.TimerHandle | None = None
        # What is not counted yet, together with what is alike: amid a request, whose code the processor's caches do not hold, to count
        # takes four times as long.
        self._times: dict[tuple[str, int, bool], list[Times]] = defaultdict(list)
        self._rows: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        self._taken = 0

    def _observations(self, child: Any, bounds: Sequence[float]) -> _Observations:
        self._pending.append(pending := _Observations(child, bounds))
        return pending

    def _tally(self, child: Any) -> _Tally:
        self._pending.append(pending := _Tally(child, at_once=self._together))
        return pending

    def note_in_flight(self, number: int) -> None:
        """So many requests are being answered."""
        self._being_answered = number
        if self._together:  # whoever is asked must know it now; alone, this server says it when it is asked
            self._in_flight.set(number)

    def state_goal(self, model: str, goal: float) -> None:
        """Take note of a model's goal, in seconds; the champion of now may have another one than that before."""
        if self._goal_of.get(model) != goal:
            self._goal_of[model] = goal
            self._goals.labels(model).set(goal)
            self._late.labels(model)  # a counter that is seen from the beginning

    def count(self, model: str, status: int, *, read: float, stages: Stages | None, total: float) -> None:
        """Count one request, in the event loop; the times are in seconds."""
        if stages is not None and self._goal_of and total > self._goal_of.get(model, math.inf):
            self._late.labels(model).inc()
        if stages is None:
            self._times[model, status, False].append((total, read))
        else:
            self._times[model, status, True].append((total, read, stages.lookup, stages.graph))
        self._take()
        if self._timer is None and self._together:  # another worker may be asked, which reads what this one wrote
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush)

    def count_rows(self, model: str, build: str, rows: int, predictions: Sequence[Prediction]) -> None:
        """Count the rows of an answer, and of predictions what was missing and how old it was."""
        if rows and not predictions:
            self._answers(model, build, CHAMPION).add(rows)
        for one in predictions:
            self._rows[model, one.build, one.arm].append((one.missing, one.unknown, one.ages))
        self._take(len(predictions))

    def _take(self, number: int = 1) -> None:
        self._taken += number
        if self._together or self._taken >= _PENDING:
            self._count_events()

    def _count_events(self) -> None:
        times, self._times = self._times, defaultdict(list)
        rows, self._rows = self._rows, defaultdict(list)
        self._taken = 0
        for (model, status, _), of_requests in times.items():
            self._answered(model, status).add(len(of_requests))
            columns = [*zip(*of_requests, strict=True)]
            for stage, seconds in zip(("total", "read", "lookup", "graph"), columns, strict=False):
                self._stage(model, stage).add(seconds)
            self._busy.add(sum(map(sum, columns[2:])))
        for (model, build, arm), of_rows in rows.items():
            self._answers(model, build, arm).add(len(of_rows))
            self._count_features(model, of_rows)

    def _count_features(self, model: str, rows: Sequence[Row]) -> None:
        ages: dict[str, list[float]] = defaultdict(list)
        for missing, unknown, of_row in rows:
            for group in missing:
                self._missing.labels(model, group).inc()
            for feature in unknown:
                self._unknown.labels(model, feature).inc()
            for group, age in of_row.items():
                if age is not None:
                    ages[group].append(age)
        for group, of_group in ages.items():
            self._age(model, group).add(of_group)

    def count_logged(self, model: str, what: str, rows: int) -> None:
        """Count rows that were "logged", or dropped for a reason, from any thread."""
        (self._logged.labels(model) if what == "logged" else self._dropped.labels(model, what)).inc(rows)

    def count_shadow(self, what: ShadowReport) -> None:
        """Count what became of a shadow's rows, from any thread."""
        self._shadowed.labels(what.model, what.arm, what.result).inc(what.rows)
        if what.result == "predicted":
            self._shadow_seconds.labels(what.model, what.arm).observe(what.seconds)
            self._distance.labels(what.model, what.arm).inc(what.disagreement.distance)
            self._disagreed.labels(what.model, what.arm).inc(what.disagreement.decisions)

    def _flush(self) -> None:
        self._timer = None
        self._count_events()
        for one in self._pending:
            one.flush()

    def text(self) -> bytes:
        """All of them, those of the other workers too, in Prometheus' text format."""
        self._count_events()
        for one in self._pending:
            one.flush()
        self._in_flight.set(self._being_answered)
        if not self._together:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
