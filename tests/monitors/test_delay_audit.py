"""A delay audit, against each row searched for in each commit."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.cli.monitoring import delay_audit as command
from fti_assets.core import clock
from fti_assets.errors import DataError, DeclarationError
from fti_assets.monitoring.delays.price import price_of
from fti_assets.monitoring.delays.text import as_text
from fti_assets.monitors.delays.delay_audit import delay_audit
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.freshness.curves import FreshnessCurves, Point
from fti_assets.training.freshness.stored import from_json, to_json

START = datetime(2025, 1, 1)
DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-20")
HOUR = timedelta(hours=1)


def group(name: str = "rates", **options: Any) -> Any:
    settings: dict[str, Any] = {"keys": ["shop"], "event_time": "t", "partitions_def": DAYS, "serving_delay": "2h"}

    @fti.feature_group(**{"name": name, **settings, **options})
    def declared() -> pd.DataFrame:
        raise NotImplementedError

    return declared


RATES = group()
STATED = group("stated", available_at="known", serving_delay=None)
WHOLE = group("whole", partitions_def=None)


@dataclass
class Row:
    shop: int
    t: datetime
    known: datetime

    @property
    def day(self) -> str:
        return f"{self.t:%Y-%m-%d}"


class History:
    """Commits of partitions of a table, and what each row's first one was."""

    def __init__(self, lake: Lake, group: Any) -> None:
        self.lake, self.group = lake, group
        self.first: dict[tuple[Any, ...], datetime] = {}
        self.rows: dict[tuple[Any, ...], Row] = {}
        self.made: dict[str, datetime] = {}

    def commit(self, partition: str, rows: list[Row], at: datetime) -> None:
        frame = pd.DataFrame(
            {
                "shop": [row.shop for row in rows],
                "t": pd.to_datetime([row.t for row in rows]),
                "known": pd.to_datetime([row.known for row in rows]),
                "_partition": partition,
            }
        ).astype({"shop": "int64", "t": "datetime64[us]", "known": "datetime64[us]", "_partition": "object"})
        self.lake.connection.register("frame", frame)
        self.lake.connection.execute(
            "CREATE OR REPLACE TEMP TABLE staged AS "
            "SELECT shop, t::TIMESTAMP AS t, known::TIMESTAMP AS known, _partition::VARCHAR AS _partition FROM frame"
        )
        with clock.at(at):
            self.lake.replace(self.group.table, "staged", [partition], asset=self.group.table_name)
        self.made.setdefault(partition, at)
        for row in rows:
            key = (row.shop, *(getattr(row, name) for name in self.group.time_columns))
            self.first.setdefault(key, at)
            self.rows.setdefault(key, row)

    def is_at_pace(self, day: str) -> bool:
        days = sorted(self.made)
        near = [one for one in days if abs(days.index(one) - days.index(day)) == 1]
        paces = [
            (self.made[day] - self.made[one]) / (datetime.fromisoformat(day) - datetime.fromisoformat(one))
            for one in near
        ]
        return any(0.5 <= pace <= 1.5 for pace in paces)

    def expected(self) -> tuple[list[tuple[Row, datetime]], int]:
        """The rows that are judged with their first commits, and how many are not."""
        judged = []
        for key, row in self.rows.items():
            end = datetime.combine(row.t.date(), datetime.min.time()) + timedelta(days=1)
            if self.made[row.day] <= end + timedelta(days=1) or self.is_at_pace(row.day):
                judged.append((row, self.first[key]))
        return judged, len(self.rows) - len(judged)


def stores_in(root: Path) -> fti.Stores:
    return fti.Stores(lake=root / "lake", models=root / "models", online=root / "online")


@pytest.mark.parametrize("declared", [RATES, STATED], ids=["serving delay", "available at"])
def test_first_commits_are_those_of_a_search(declared: Any, tmp_path: Path) -> None:
    draw = random.Random(7)
    stores = stores_in(tmp_path)
    by_day: dict[str, list[Row]] = {}
    with stores.offline_store().connect() as lake:
        history = History(lake, declared)
        for step in range(14):
            day = draw.randrange(5)
            rows = by_day.setdefault(f"{START + timedelta(days=day):%Y-%m-%d}", [])
            for _ in range(draw.randrange(1, 12)):
                t = START + timedelta(days=day, minutes=draw.randrange(24 * 60))
                rows.append(Row(draw.randrange(3), t, t + timedelta(minutes=draw.randrange(300))))
            if draw.random() < 0.3:
                rows.pop(0)  # a row that is gone by the next commit has come all the same
            unique = list(
                {(row.shop, *(getattr(row, name) for name in declared.time_columns)): row for row in rows}.values()
            )
            history.commit(f"{START + timedelta(days=day):%Y-%m-%d}", unique, START + timedelta(hours=20 * step + 3))
    audit = delay_audit(declared, stores=stores)
    judged, others = history.expected()
    assert others
    after_event = [max(at - row.t, timedelta(0)) for row, at in judged]
    available = [row.known if declared is STATED else row.t + 2 * HOUR for row, _ in judged]
    lateness = [at - one for (_, at), one in zip(judged, available, strict=True)]
    delays = audit.delays
    assert (delays.judged, delays.backfilled, delays.unknown) == (len(judged), others, 0)
    assert delays.late == sum(one > timedelta(0) for one in lateness)
    for by_quantile, values in ((delays.after_event, after_event), (delays.after_available, lateness)):
        seconds = [one.total_seconds() for one in values]
        for quantile, result in by_quantile.items():
            assert result.total_seconds() == np.quantile(seconds, quantile, method="inverted_cdf")


def test_an_honest_delay_is_proposed_and_priced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = stores_in(tmp_path)
    rows = [Row(shop, START + timedelta(minutes=shop), START) for shop in range(200)]
    with stores.offline_store().connect() as lake:
        history = History(lake, RATES)
        history.commit("2025-01-01", rows[:190], START + 5 * HOUR)
        history.commit("2025-01-01", rows, START + 30 * HOUR)
    points = [
        Point("rates_v1", timedelta(hours=hours), 0.8 - hours / 100, -hours / 100, None, not hours) for hours in (0, 24)
    ]
    curves = FreshnessCurves("buyer", "2025-01-05", "roc_auc", True, 0.8, None, 100, 50, tuple(points))
    audit = delay_audit(RATES, stores=stores, curves=[from_json(to_json(curves), what="curves")])
    assert (audit.delays.late, audit.delays.judged) == (180 + 10, 200)
    assert audit.proposal is not None
    assert (audit.proposal.delay, audit.proposal.declared_holds) == (timedelta(days=2), False)
    assert (audit.prices[0].change, audit.prices[0].is_beyond) == (-0.24, True)
    median = delay_audit(RATES, stores=stores, quantile=0.5, curves=[curves])
    assert median.proposal is not None
    assert median.proposal.delay == 4 * HOUR
    assert median.prices[0].change == pytest.approx(-0.04)
    assert 'proposal: serving_delay="2d": 99% of the rows were there 1d 2h after their event time' in as_text(audit)
    assert json.loads(json.dumps(audit.plain()))["late_share"] == 0.95
    file = tmp_path / "curves.json"
    file.write_text(to_json(curves))
    defs = fti.build_definitions([RATES], resources={"fti": stores})
    monkeypatch.setattr(command, "load_definitions", lambda *_: defs)
    assert main(["delay-audit", "rates", "--freshness", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == audit.plain()
    assert main(["delay-audit", "rates", "--freshness", str(file)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("changes by -0.2400 (at least: the curve ends before)")
    since = delay_audit(RATES, stores=stores, since=START + 3 * HOUR)
    assert since.delays.judged == 20
    assert price_of(curves, "elsewhere_v1", HOUR) is None
    with pytest.raises(DataError, match="elsewhere.json has no freshness curves"):
        from_json("{}", what="elsewhere.json")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("commits", "judged"),
    [
        ({1: 96, 2: 120, 3: 144, 4: 160}, [1, 2, 3, 4]),  # always as late, with a jitter
        ({1: 900, 2: 901, 3: 902, 4: 903}, []),  # one run after another
        ({1: 903, 2: 902, 3: 901, 4: 900}, []),
        ({1: 900, 3: 948}, [1, 3]),  # two days apart, two days later
        ({1: 30, 2: 900, 3: 901, 4: 902, 5: 126}, [1, 5]),  # a gap that was filled
        ({1: 900}, []),
        ({1: 900, 2: 876}, []),
        ({1: 900, 2: 901, 3: 902, 4: 120, 5: 144}, [4, 5]),
    ],
)
def test_a_steady_delay_is_no_backfill(commits: dict[int, int], judged: list[int], tmp_path: Path) -> None:
    stores = stores_in(tmp_path)
    rows = {day: Row(1, START + timedelta(days=day - 1), START) for day in commits}
    with stores.offline_store().connect() as lake:
        history = History(lake, RATES)
        for day, hours in sorted(commits.items(), key=lambda item: item[1]):
            history.commit(f"2025-01-0{day}", [rows[day]], START + hours * HOUR)
    assert [int(row.day[-1]) for row, _ in sorted(history.expected()[0], key=lambda pair: pair[0].t)] == judged
    delays = delay_audit(RATES, stores=stores).delays
    assert (delays.judged, delays.backfilled) == (len(judged), len(commits) - len(judged))
    assert delays.late == len(judged)


def test_the_first_load_of_a_whole_table_is_no_delay(tmp_path: Path) -> None:
    stores = stores_in(tmp_path)
    rows = [Row(shop, START, START) for shop in range(3)]
    with stores.offline_store().connect() as lake:
        history = History(lake, WHOLE)
        history.commit("all", rows[:2], START + 100 * HOUR)
        assert delay_audit(WHOLE, stores=stores).proposal is None
        history.commit("all", rows, START + 101 * HOUR)
    delays = delay_audit(WHOLE, stores=stores).delays
    assert (delays.judged, delays.backfilled, delays.late) == (1, 2, 1)


def test_rows_from_before_the_oldest_snapshot_are_unknown(tmp_path: Path) -> None:
    stores = stores_in(tmp_path)
    with stores.offline_store().connect() as lake:
        history = History(lake, RATES)
        history.commit("2025-01-01", [Row(1, START, START)], START + 3 * HOUR)
        history.commit("2025-01-02", [Row(1, START + 24 * HOUR, START)], START + 26 * HOUR)
        lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => {list(range(lake.snapshot()))})")
        history.commit(
            "2025-01-02", [Row(1, START + 24 * HOUR, START), Row(2, START + 25 * HOUR, START)], START + 27 * HOUR
        )
        history.commit("2025-01-03", [Row(1, START + 48 * HOUR, START)], START + 49 * HOUR)
    delays = delay_audit(RATES, stores=stores).delays
    assert (delays.judged, delays.unknown, delays.late) == (1, 3, 0)


@pytest.mark.parametrize(
    ("declared", "options", "problem"),
    [
        (
            group("lookup", event_time=None, partitions_def=None, serving_delay=None),
            {},
            "lookup_v1 is a lookup without an event time",
        ),
        (RATES, {"quantile": 1.5}, "quantile=1.5: give a share"),
    ],
)
def test_what_has_no_delay_is_refused(declared: Any, options: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=problem):
        delay_audit(declared, stores=stores_in(tmp_path), **options)
