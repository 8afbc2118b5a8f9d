"""Many past requests, compared: those of one build and snapshot in one join."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import duckdb

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import TableName
from fti_assets.core.sql import literal
from fti_assets.errors import FtiError, StoreError
from fti_assets.monitoring.logged import Recomputation, is_hashed, recompute
from fti_assets.monitoring.replays.findings import Finding, logged_findings, replay_findings
from fti_assets.monitoring.replays.online_path import OnlineAnswer, OnlinePath
from fti_assets.monitoring.replays.past_request import PastRequest, Path, Uncompared
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.snapshots import commit_times
from fti_assets.stores.models.graphs.graph import Graph

Build = tuple[ModelManifest, Graph]


@dataclass
class Comparison:
    """What came of past requests.

    Attributes:
        findings: each difference with its request; a request may have several.
        uncompared: each request that a path could not be compared for, with why.
        compared: how many requests each path was compared for.
        behind: how many answers saw the lake as it was a little earlier, since the online store was loaded a little later.
    """

    findings: list[tuple[PastRequest, Finding]] = field(default_factory=list)
    uncompared: list[tuple[PastRequest, Uncompared]] = field(default_factory=list)
    compared: dict[Path, int] = field(default_factory=lambda: {"logged": 0, "replayed": 0})
    behind: int = 0


class Replay:
    """Compares past requests of one model with the lake.

    Args:
        lake: the open lake.
        load: gives a build's manifest and graph; an error is why its requests are not compared.
        online: the online path.
        lag: how much later than the lake the online store may be loaded.
        redactions: the fields and features that the log does not have in clear.
    """

    def __init__(
        self,
        lake: Lake,
        load: Callable[[str], Build],
        online: OnlinePath,
        *,
        lag: timedelta,
        redactions: frozenset[str] = frozenset(),
    ) -> None:
        self._lake, self.load, self._online, self._lag, self._redactions = lake, load, online, lag, redactions
        self.times = commit_times(lake)
        self._commits: dict[TableName, list[int]] = {}
        self.result = Comparison()

    def add(self, requests: Iterable[PastRequest]) -> None:
        """Compare some requests and add what comes of it to ``result``."""
        together: dict[str, list[PastRequest]] = {}
        for past in requests:
            together.setdefault(past.build, []).append(past)
        for reference, of_build in together.items():
            try:
                build = self.load(reference)
            except FtiError as error:
                self.leave_out(of_build, "build_is_gone", str(error))
                continue
            self._compare(build, of_build)

    def leave_out(self, requests: Sequence[PastRequest], reason: str, detail: str = "") -> None:
        """Count requests that no path is compared for."""
        for path in ("logged", "replayed"):
            self.result.uncompared += [(past, Uncompared(path, reason, detail)) for past in requests]  # type: ignore[arg-type]

    def _compare(self, build: Build, requests: Sequence[PastRequest]) -> None:
        manifest, _ = build
        needed = {column.name for column in manifest.view.request}
        by_snapshot: dict[int, list[PastRequest]] = {}
        for past in requests:
            snapshot = self.times.current(past.answered_at)
            hidden = needed & (self._redactions | {name for name, value in past.request.items() if is_hashed(value)})
            if hidden:
                self.leave_out([past], "redacted", f"the log does not have {', '.join(sorted(hidden))}")
            elif snapshot is None:
                self.leave_out([past], "snapshot_is_expired")
            else:
                by_snapshot.setdefault(self._first_alike(manifest, snapshot), []).append(past)
        for snapshot, of_snapshot in by_snapshot.items():
            self._compare_at(build, of_snapshot, snapshot)

    def _first_alike(self, manifest: ModelManifest, snapshot: int) -> int:
        """The first snapshot with the same rows of the view's groups: a log is taken in many times between two of their runs."""
        changes = [one for join in manifest.view.joins for one in self._commits_of(join.table) if one <= snapshot]
        last = max(changes, default=0)
        return next(number for number in self.times.by_number if last <= number)

    def _commits_of(self, table: TableName) -> list[int]:
        """The snapshots after the oldest that wrote to a table; all of them if the lake cannot tell."""
        if table not in self._commits:
            oldest, newest = min(self.times.by_number), max(self.times.by_number)
            ledger = f"'lake', 'ledger', {literal(f'{table.schema}_{table.name}')}, {min(oldest + 1, newest)}, {newest}"
            try:
                rows = self._lake.connection.execute(
                    f"SELECT DISTINCT snapshot_id FROM ducklake_table_insertions({ledger})"
                ).fetchall()
                self._commits[table] = [int(number) for (number,) in rows]
            except duckdb.Error:  # such as an external table, which has no ledger
                self._commits[table] = list(self.times.by_number)
        return self._commits[table]

    def _compare_at(self, build: Build, requests: Sequence[PastRequest], snapshot: int) -> None:
        answers = self._recompute(build, requests, snapshot)
        pairs = [(past, then) for past, then in zip(requests, answers, strict=True) if then is not None]
        self._compare_logged(build, pairs)
        self._compare_replayed(build, pairs, snapshot)

    def _compare_logged(self, build: Build, pairs: Sequence[tuple[PastRequest, Recomputation]]) -> None:
        manifest, result = build[0], self.result
        result.compared["logged"] += len(pairs)
        differing = {
            past: findings
            for past, then in pairs
            if (findings := logged_findings(manifest, past, then, self._redactions))
        }
        earlier: dict[int, list[PastRequest]] = {}
        for past in differing:
            for snapshot in self.times.between(past.answered_at - self._lag, past.answered_at):
                earlier.setdefault(snapshot, []).append(past)
        for snapshot in sorted(earlier, reverse=True):
            open_requests = [past for past in earlier[snapshot] if past in differing]
            for past, then in zip(open_requests, self._earlier(build, open_requests, snapshot), strict=True):
                if then is not None and not logged_findings(manifest, past, then, self._redactions):
                    del differing[past]
                    result.behind += 1
        result.findings += [(past, one) for past, findings in differing.items() for one in findings]

    def _compare_replayed(
        self, build: Build, pairs: Sequence[tuple[PastRequest, Recomputation]], snapshot: int
    ) -> None:
        manifest, result = build[0], self.result
        differing: list[tuple[PastRequest, Recomputation, OnlineAnswer]] = []
        for past, then in pairs:
            online = self._online.answer(manifest, past)
            if isinstance(online, Uncompared):
                result.uncompared.append((past, online))
                continue
            result.compared["replayed"] += 1
            if replay_findings(manifest, past, then, online, None, is_behind={}):
                differing.append((past, then, online))
        if not differing:
            return
        snapshots = self._online.snapshots(manifest)
        is_behind = {table: of_table < snapshot for table, of_table in snapshots.items()}
        now = self._now(build, [past for past, _, _ in differing], snapshots)
        for (past, then, online), of_now in zip(differing, now, strict=True):
            findings = replay_findings(manifest, past, then, online, of_now, is_behind=is_behind)
            result.findings += [(past, one) for one in findings]

    def _now(
        self, build: Build, requests: Sequence[PastRequest], snapshots: dict[str, int]
    ) -> list[Recomputation | None]:
        """The offline join at the snapshots that the online store was loaded from; None where that cannot be read."""
        newest = self._lake.snapshot()
        try:
            return [
                *recompute(
                    self._lake,
                    *build,
                    [past.request for past in requests],
                    [past.at for past in requests],
                    snapshot=newest,
                    rows=lambda join: self._lake.rows(join.table, snapshot=snapshots.get(join.table_name, newest)),
                )
            ]
        except StoreError:  # that snapshot is expired: then the newest says what the store should give
            return [*self._recompute(build, requests, newest)]

    def _earlier(self, build: Build, requests: Sequence[PastRequest], snapshot: int) -> Sequence[Recomputation | None]:
        if not requests:
            return []
        times = [past.at for past in requests]
        try:
            return recompute(self._lake, *build, [past.request for past in requests], times, snapshot=snapshot)
        except StoreError:  # the lake had no such table yet
            return [None] * len(requests)

    def _recompute(
        self, build: Build, requests: Sequence[PastRequest], snapshot: int
    ) -> Sequence[Recomputation | None]:
        """The offline join and the graph, None for those that are refused, which are counted; one by one where some are."""
        try:
            times = [past.at for past in requests]
            return recompute(self._lake, *build, [past.request for past in requests], times, snapshot=snapshot)
        except FtiError as error:
            if len(requests) > 1:
                return [one for past in requests for one in self._recompute(build, [past], snapshot)]
            self.leave_out(requests, "refused", str(error))
            return [None]
