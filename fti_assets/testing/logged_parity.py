"""The assertion that what was served is what the offline join says, on the answers of a prediction log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pandas as pd

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import duration
from fti_assets.errors import NotMaterializedError, StoreError, list_some
from fti_assets.features.external.rows import read_external
from fti_assets.inference.log.answers import sampled_answers
from fti_assets.inference.log.log import PredictionLog
from fti_assets.inference.serving.log.answer import LoggedAnswer
from fti_assets.monitoring.logged import differences, is_hashed, recompute
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.snapshots import current_snapshot, snapshots_between
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore
from fti_assets.testing.failures import ParityBroken


@dataclass(frozen=True)
class LoggedParityReport:
    """What was compared without a difference.

    Attributes:
        builds: the builds that had answered.
        rows: how many answers were compared.
        behind: how many of them saw the lake as it was up to ``lag`` earlier, since the online store was loaded a little later.
        redacted: how many answers nobody can ask again, since what their request brought was redacted.
        expired: how many answers were given at a snapshot that cannot be read any more.
    """

    builds: tuple[str, ...]
    rows: int
    behind: int = 0
    redacted: int = 0
    expired: int = 0


@checked_arguments()
def assert_logged_parity(
    log: PredictionLog,
    /,
    *,
    stores: Stores,
    partitions: Sequence[str] | None = None,
    sample: int = 200,
    seed: int = 0,
    lag: str | timedelta = "1min",
) -> LoggedParityReport:
    """Assert that logged answers are what the offline join and the graph say to the same requests.

    Each request is asked again of the build that answered, over the lake as it was when it was answered. Every feature that was logged
    must be what the offline join has then, and the answer that of the graph.

    Args:
        log: the log.
        stores: where its table, its groups and its builds are.
        partitions: of the log, all by default.
        sample: how many answers.
        seed: which ones.
        lag: how much later than the lake the online store may be loaded.

    Raises:
        ParityBroken: something differs; its ``rows`` name the request, its row and time, the build, the feature and both values.
        NotMaterializedError: there is no answer to compare.

    >>> assert_logged_parity(delay_log, stores=stores, partitions=["2013-02-20"]).rows  # doctest: +SKIP
    200
    """
    tolerance = duration(lag, what="lag")
    with stores.offline_store().connect() as lake:
        read_external(lake, log.model.view.groups)
        answers = sampled_answers(log, lake, partitions=partitions, sample=sample, seed=seed)
        clear = [
            one for one in answers if not (log.redact & one.request.keys() or any(map(is_hashed, one.request.values())))
        ]
        readable = [(one, at) for one in clear if (at := current_snapshot(lake, one.answered_at)) is not None]
        if not readable:
            raise NotMaterializedError(
                f"{log.table_name} has no answer to compare: of {len(answers)}, {len(answers) - len(clear)} have redacted requests, and "
                f"the snapshots of {len(clear)} cannot be read any more"
            )
        report = LoggedParityReport(
            tuple(sorted({one.build for one, _ in readable})),
            len(readable),
            redacted=len(answers) - len(clear),
            expired=len(clear) - len(readable),
        )
        rows = []
        for one, differing in _differences(log, lake, stores.model_store(), readable):
            earlier = snapshots_between(lake, one.answered_at - tolerance, one.answered_at)
            if any(_same_at(log, lake, stores.model_store(), one, snapshot) for snapshot in reversed(earlier)):
                report = replace(report, behind=report.behind + 1)
                continue
            key_values = {"request_id": one.request_id, "row": one.row, "at": one.at, "build": one.build}
            rows += [{**key_values, **difference} for difference in differing]
    if rows:
        frame = pd.DataFrame(rows)
        counts = (f"{feature} {number}" for feature, number in frame["feature"].value_counts().items())
        raise ParityBroken(
            f"logged and offline differ in {log.table_name}: of {report.rows} answers, {list_some(counts)}", frame
        )
    return report


def _same_at(log: PredictionLog, lake: Lake, store: ModelStore, one: LoggedAnswer, snapshot: int) -> bool:
    try:
        return not list(_differences(log, lake, store, [(one, snapshot)]))
    except StoreError:  # the lake had no such table yet
        return False


def _differences(
    log: PredictionLog, lake: Lake, store: ModelStore, answers: Sequence[tuple[LoggedAnswer, int]]
) -> Iterator[tuple[LoggedAnswer, list[dict[str, Any]]]]:
    """The answers that differ from what is recomputed, those of one build and snapshot in one join."""
    together: dict[tuple[str, int], list[LoggedAnswer]] = {}
    for one, snapshot in answers:
        together.setdefault((one.build, snapshot), []).append(one)
    for (build, snapshot), of_build in together.items():
        manifest, graph = load_build(store, log.model.name, build)
        requests, times = [one.request for one in of_build], [one.at for one in of_build]
        for one, again in zip(
            of_build, recompute(lake, manifest, graph, requests, times, snapshot=snapshot), strict=True
        ):
            if differing := differences(manifest, one, again, redactions=log.redact):
                yield one, differing
