"""What a person on call is told: once when something goes wrong, once when it is over, whatever the targets do meanwhile."""

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.alerts import checks
from fti_assets.alerts.causes import Cause, Findings, OpenCause, changes_of
from fti_assets.alerts.checks import broken_checks
from fti_assets.alerts.cursor import MOST_WAITING, AlertsCursor, Message
from fti_assets.alerts.delivery import deliver
from fti_assets.alerts.runs import findings_of_runs
from fti_assets.alerts.sensor import alerts_sensor
from fti_assets.core import clock
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.orchestration.partitions import RANGE_TAGS
from fti_assets.testing import stores_in

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")
NOW = "2024-01-04T00:00:00"
WORLD: dict[str, Any] = {"temp": 20.0, "hope": 0.5, "crash": False}


class ReadingSchema(pa.DataFrameModel):
    sensor: int
    at: pd.Timestamp
    temp: float = pa.Field(ge=-50, le=50)
    late: int


@fti.feature_group(keys=["sensor"], event_time="at", schema=ReadingSchema, partitions_def=DAYS)
def readings(context: dg.AssetExecutionContext) -> pd.DataFrame:
    if WORLD["crash"]:
        raise RuntimeError("the disk of the sensors is gone")
    hours = [pd.date_range(key, periods=24, freq="h") for key in context.partition_keys]
    at = hours[0].append(hours[1:])
    rows = range(len(at))
    temp = [WORLD["temp"] + row % 24 / 10 for row in rows]
    return pd.DataFrame(
        {"sensor": [row % 24 for row in rows], "at": at, "temp": temp, "late": [row % 2 for row in rows]}
    )


@fti.gate()
def is_hopeful(scores: fti.Scores) -> bool:
    """The gate that the tests open and shut."""
    return bool(WORLD["hope"] > 0)


view = fti.FeatureView(name="lateness", spine=readings, label=fti.Label(readings["late"]), features=[readings["temp"]])
dataset = fti.training_dataset(name="late_rows", view=view, split=fti.TimeSplit(validation="1d", test="1d"))


@fti.model(dataset=dataset, task="binary", gates=[is_hopeful])
def lateness_model(data: fti.TrainingData) -> LogisticRegression:
    return LogisticRegression().fit(data.train.X, data.train.y)


class Ticks:
    """A sensor, tick after tick, and what the log was told."""

    def __init__(self, stores: fti.Stores, to: list[str]) -> None:
        self.stores, self.alerts, self.cursor = stores, fti.Alerts(to=to, seconds=2), ""
        self.instance = dg.DagsterInstance.ephemeral()
        self.sensor = alerts_sensor("alerts", [readings, dataset, lateness_model], [])

    def __call__(self, now: str = NOW) -> str:
        resources = {"fti": self.stores, "alerts": self.alerts}
        with clock.at(now), dg.build_sensor_context(self.instance, self.cursor, resources=resources) as context:
            result = self.sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return str(result.skip_message)

    def run(self, asset: Any, partition: str | None = None, now: str = NOW) -> bool:
        with clock.at(now):
            result = dg.materialize(
                [one.assets_def for one in (readings, dataset, lateness_model)],
                selection=[asset.key],
                resources={"fti": self.stores},
                partition_key=partition,
                instance=self.instance,
                raise_on_error=False,
            )
        return bool(result.success)


@pytest.fixture
def ticks(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> Iterator[Ticks]:
    caplog.set_level(logging.INFO, "fti_assets.alerts")
    WORLD.update(temp=20.0, hope=0.5, crash=False)
    result = Ticks(stores_in(tmp_path), ["log"])
    yield result
    result.instance.dispose()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    def titles() -> list[str]:
        """What was told since the last call, by its first lines; the dataset of so few rows has warnings, of which no test is."""
        lines = [one.getMessage().splitlines()[0] for one in caplog.records if one.name == "fti_assets.alerts"]
        caplog.clear()
        return [line for line in lines if "late_rows" not in line]

    return titles


def days(ticks: Ticks) -> None:
    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        assert ticks.run(readings, day)


def test_a_broken_check_is_told_once_and_its_end_once(ticks: Ticks, told: Any, caplog: Any) -> None:
    days(ticks)
    ticks()
    assert told() == []
    WORLD["temp"] = 60.0
    assert not ticks.run(readings, "2024-01-04")
    ticks()
    (message,) = [one.getMessage() for one in caplog.records if one.name == "fti_assets.alerts"]
    assert "partition 2024-01-04" in message
    assert "Run " in message
    title = told()[0]
    assert title.startswith("Check temp") and " of readings_v1 failed" in title  # noqa: PT018 - one line
    for _ in range(3):
        assert not ticks.run(readings, "2024-01-04")  # it fails again: no news
        assert "1 cause is open" in ticks()
    assert told() == []
    WORLD["temp"] = 20.0
    assert ticks.run(readings, "2024-01-04")
    assert ticks() == "all is well"
    (end,) = told()
    assert end.startswith("Over: Check temp") and end.endswith("of readings_v1 passes again")  # noqa: PT018 - one line
    ticks()
    assert told() == []


def test_a_check_that_passes_on_another_day_ends_nothing(ticks: Ticks, told: Any) -> None:
    days(ticks)
    WORLD["temp"] = 60.0
    assert not ticks.run(readings, "2024-01-04")
    ticks()
    assert len(told()) == 1
    WORLD["temp"] = 20.0
    assert ticks.run(readings, "2024-01-01")
    assert "1 cause is open" in ticks()
    assert told() == []
    WORLD["temp"] = 60.0
    assert not ticks.run(readings, "2024-01-02")
    assert "1 cause is open" in ticks()
    (again,) = told()
    assert again.endswith("failed in 2 partitions, '2024-01-02' and '2024-01-04'"), "it had passed in between: news"
    WORLD["temp"] = 20.0
    assert ticks.run(readings, "2024-01-04")
    assert "1 cause is open" in ticks()
    assert told() == [], "one of both is mended"
    with clock.at(NOW):  # a range that holds the other one
        tags = dict(zip(RANGE_TAGS, ("2024-01-01", "2024-01-03"), strict=True))
        assert dg.materialize(
            [readings.assets_def], tags=tags, resources={"fti": ticks.stores}, instance=ticks.instance
        ).success
    assert ticks() == "all is well"
    (end,) = told()
    assert end.endswith("passes again")


def test_a_check_that_fails_day_after_day_is_one_cause() -> None:
    """One message when it begins and one when all of its days are mended, however many there are and in whichever order."""
    world, key = {"good": True}, dg.AssetKey("sea")

    @dg.asset(name="sea", check_specs=[dg.AssetCheckSpec("salt", asset="sea")], partitions_def=DAYS)
    def sea() -> Iterator[Any]:
        yield dg.MaterializeResult(asset_key=key)
        yield dg.AssetCheckResult(asset_key=key, check_name="salt", passed=world["good"], severity=world["severity"])

    cursor, result = AlertsCursor(), list[str]()

    def look(
        instance: dg.DagsterInstance, day: int, good: bool, severity: Any = dg.AssetCheckSeverity.WARN
    ) -> list[str]:
        world.update(good=good, severity=severity)
        assert dg.materialize([sea], partition_key=f"2024-01-{day:02}", instance=instance).success
        findings = findings_of_runs(instance, [sea], [], warnings=True, open_causes=cursor.causes)
        changes = changes_of(cursor.causes, findings, datetime(2024, 2, 1))
        cursor.causes = AlertsCursor.of(AlertsCursor(changes.open).text()).causes
        return [*(one.end for one in changes.over), *(one.title for one in changes.begun)]

    with dg.DagsterInstance.ephemeral() as instance:
        for day in range(1, 6):
            result += look(instance, day, good=False)
        assert result == ["Check salt of sea warns in partition 2024-01-01"]
        (cause,) = cursor.causes.values()
        assert cause.title.startswith("Check salt of sea warns in 5 partitions, '2024-01-05', '2024-01-04'")
        assert [look(instance, day, good=True) for day in (3, 1, 5, 2)] == [[]] * 4
        assert look(instance, 4, good=True) == ["Check salt of sea passes again"]
        assert look(instance, 6, good=False) == ["Check salt of sea warns in partition 2024-01-06"]
        assert look(instance, 7, good=False, severity=dg.AssetCheckSeverity.ERROR) == [
            "Check salt of sea failed in 2 partitions, '2024-01-07' and '2024-01-06'"
        ], "one that blocks is news where it had only warned"
        assert look(instance, 8, good=False, severity=dg.AssetCheckSeverity.ERROR) == []


def test_a_check_that_fails_longer_than_its_history_goes_back_is_told_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "_HISTORY", 3)
    messages = [checks._beginning([evaluation(number) for number in range(length, 0, -1)], 0) for length in (1, 2, 3)]
    assert messages == ["run 1", "run 1", "earlier"]


def evaluation(number: int) -> checks.Evaluation:
    key = dg.AssetCheckKey(dg.AssetKey("sea"), "salt")
    return checks.Evaluation(key, f"run {number}", False, False, "", frozenset([str(number)]), str(number))


def test_causes_of_an_earlier_release_are_those_of_one_check() -> None:
    """It had a cause for each partition of a check, which is neither over nor news after an update."""
    old = {"occurrence": "", "title": "a", "end": "b"}
    written = {
        "check salt of sea 2024-01-01": {**old, "since": "2024-01-03T00:00:00"},
        "check salt of sea 2024-01-02 to 2024-01-03": {**old, "since": "2024-01-02T00:00:00"},
        "check salt of lake": {**old, "since": "2024-01-02T00:00:00"},
        "stale sea": {**old, "since": "2024-01-02T00:00:00"},
    }
    causes = AlertsCursor.of(json.dumps({"causes": written})).causes
    assert {subject: (one.places, one.since) for subject, one in causes.items()} == {
        "check salt of sea": (("2024-01-01", "2024-01-02 to 2024-01-03"), "2024-01-02T00:00:00"),
        "check salt of lake": (("",), "2024-01-02T00:00:00"),
        "stale sea": ((), "2024-01-02T00:00:00"),
    }
    same = Cause("check salt of sea", "a", "", "run 1", places=("2024-01-01",))
    unseen = frozenset({"stale sea", "check salt of lake"})
    changes = changes_of(causes, Findings((same,), unseen), datetime(2024, 2, 1))
    assert (changes.begun, changes.over) == ((), ())


def open_cause(*places: str) -> OpenCause:
    return OpenCause("", "", "", "2024-01-01T00:00:00", places)


def test_a_past_day_of_a_monitor_is_over_once_a_later_day_is_well() -> None:
    result: dict[str, Any] = {}
    subject = "check quality_f1 of watch"
    key, rule = dg.AssetKey("watch"), dg.AssetCheckSpec("quality_f1", asset="watch")

    @dg.asset(name="watch", check_specs=[rule], partitions_def=DAYS)
    def watch() -> Iterator[Any]:
        yield dg.MaterializeResult(asset_key=key)
        yield dg.AssetCheckResult(asset_key=key, check_name="quality_f1", **result)

    def run(instance: dg.DagsterInstance, day: str, passed: bool, **facts: Any) -> list[str]:
        severity = facts.pop("severity", dg.AssetCheckSeverity.WARN)
        result.update(passed=passed, severity=severity, metadata=facts)
        assert dg.materialize([watch], partition_key=f"2024-01-{day}", instance=instance).success
        return sorted(one.place[-2:] for one in broken_checks(instance, [watch], {subject: open_cause()}).broken)

    truth, estimate, nothing = ({"judged": a, "estimated": b} for a, b in ((2, 1), (1, 1), (0, 0)))
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(instance, "03", False, **truth) == ["03"]
        assert run(instance, "02", True, **truth) == ["03"], "an earlier day"
        assert run(instance, "04", True, **nothing) == ["03"], "nothing was judged"
        assert run(instance, "05", True, **estimate) == ["03"], "labels said it, and an estimate says less"
        assert run(instance, "04", False, **truth) == ["03", "04"]
        assert run(instance, "05", True, **truth) == []
        assert run(instance, "03", False, **truth) == [], "measured again, it is the same bad day"
        assert run(instance, "06", False, **estimate) == ["06"]
        assert run(instance, "07", True, **estimate) == []
        assert run(instance, "06", False, **truth) == ["06"], "labels say more"
        looked_at = broken_checks(instance, [watch], {subject: open_cause("2024-01-01", "2024-01-31")})
        assert looked_at.unseen_places == {subject: ("2024-01-31",)}, "a day before the history, and one after"
    for facts in ({}, {"judged": 1, "severity": dg.AssetCheckSeverity.ERROR}):
        with dg.DagsterInstance.ephemeral() as instance:
            assert run(instance, "03", False, **facts) == ["03"]
            assert run(instance, "04", True, **facts) == ["03"], "no monitor's, or one that blocks"


@pytest.mark.soak
def test_a_step_that_crashes_is_told_with_its_reason(ticks: Ticks, told: Any, caplog: Any) -> None:
    days(ticks)
    WORLD["crash"] = True
    assert not ticks.run(readings, "2024-01-04")
    ticks()
    (message,) = [one.getMessage() for one in caplog.records if one.name == "fti_assets.alerts"]
    assert message.startswith("readings_v1 failed\n")
    assert "the disk of the sensors is gone" in message
    told()
    WORLD["crash"] = False
    assert ticks.run(readings, "2024-01-04")
    ticks()
    assert told() == ["Over: readings_v1 ran without failure"]


@pytest.mark.soak
def test_a_missing_partition_is_stale_once_it_is_due(ticks: Ticks, told: Any) -> None:
    days(ticks)
    ticks("2024-01-05T23:59:00")  # the fourth has ended for less than a day
    assert told() == []
    ticks("2024-01-06T00:00:00")
    assert told() == ["readings_v1 is stale: a partition is missing, '2024-01-04'"]
    assert ticks.run(readings, "2024-01-04", now="2024-01-06T00:10:00")
    ticks("2024-01-06T01:00:00")
    assert told() == ["Over: readings_v1 is fresh again"]


@pytest.mark.soak
def test_a_gap_stays_open_until_it_is_filled(ticks: Ticks, told: Any) -> None:
    assert ticks.run(readings, "2024-01-02")  # what lies before the first one is no gap
    assert ticks.run(readings, "2024-01-04", now="2024-01-06T00:00:00")
    ticks("2024-01-06T00:00:00")
    assert told() == ["readings_v1 is stale: a partition is missing, '2024-01-03'"]
    ticks("2024-01-07T00:00:00")
    assert told() == ["readings_v1 is stale: 2 partitions are missing, '2024-01-05' and '2024-01-03'"]
    assert ticks.run(readings, "2024-01-03", now="2024-01-07T00:00:00")
    ticks("2024-01-07T01:00:00")
    assert told() == []  # the newer one is known, and it is not over
    assert ticks.run(readings, "2024-01-05", now="2024-01-07T00:00:00")
    ticks("2024-01-07T01:00:00")
    assert told() == ["Over: readings_v1 is fresh again"]


@pytest.mark.soak
def test_a_feed_that_has_stopped_is_told_once(ticks: Ticks, told: Any) -> None:
    """However many partitions fall due; a gap that is known is told no second time when a later partition is late and comes."""
    assert ticks.run(readings, "2024-01-02")
    assert ticks.run(readings, "2024-01-04", now="2024-01-06T00:00:00")
    for day in range(6, 10):
        ticks(f"2024-01-{day:02}T00:00:00")
    assert told() == [
        "readings_v1 is stale: a partition is missing, '2024-01-03'",
        "readings_v1 is stale: 2 partitions are missing, '2024-01-05' and '2024-01-03'",
    ]
    for day in ("2024-01-05", "2024-01-06", "2024-01-07"):
        assert ticks.run(readings, day, now="2024-01-09T01:00:00")
    ticks("2024-01-09T01:00:00")
    assert told() == [], "the gap is still there"
    assert ticks.run(readings, "2024-01-03", now="2024-01-09T02:00:00")
    ticks("2024-01-09T02:00:00")
    assert told() == ["Over: readings_v1 is fresh again"]


@pytest.mark.soak
def test_what_is_told_says_when_it_began_and_how_long_it_lasted(ticks: Ticks, caplog: Any) -> None:
    def said(start: str) -> str:
        (message,) = [one.getMessage() for one in caplog.records if one.getMessage().startswith(start)][-1:]
        return str(message)

    assert ticks.run(readings, "2024-01-03")
    ticks("2024-01-06T05:00:00")  # the fourth was due at midnight, when the sensor was not running
    assert said("readings_v1 is stale").endswith("It began at 2024-01-06 00:00 UTC, 5h ago.")
    assert "is missing, '2024-01-04', since 2024-01-06 00:00" in ticks("2024-01-06T06:00:00")
    assert "2 partitions are missing, '2024-01-05' and '2024-01-04', since 2024-01-06 00:00" in ticks(
        "2024-01-07T00:00:00"
    )
    for day in ("2024-01-04", "2024-01-05"):
        assert ticks.run(readings, day, now="2024-01-07T01:00:00")
    ticks("2024-01-07T01:30:00")
    lasted = "It lasted 1d 1h, from 2024-01-06 00:00 to 2024-01-07 01:30 UTC: readings_v1 is stale: 2 partitions"
    assert lasted in said("Over: readings_v1")


@pytest.mark.soak
def test_a_check_has_been_broken_since_the_first_failure_in_a_row(ticks: Ticks) -> None:
    ends = []
    for temp in (60.0, 20.0, 60.0, 60.0):
        WORLD["temp"] = temp
        ticks.run(readings, "2024-01-02")
        ends.append(datetime.now(UTC).replace(tzinfo=None))
    [check] = broken_checks(ticks.instance, [readings.assets_def], {}).broken
    assert check.since is not None
    assert ends[1] - timedelta(seconds=1) <= check.since <= ends[2], "whole seconds"
    with clock.at(NOW):
        [check] = broken_checks(ticks.instance, [readings.assets_def], {}).broken
    assert check.since is None, "Dagster's clock is another than the one that is set"


@pytest.mark.soak
def test_each_rejected_build_is_told_and_the_first_accepted_ends_it(ticks: Ticks, told: Any, caplog: Any) -> None:
    days(ticks)
    assert ticks.run(dataset)
    WORLD["hope"] = 0
    assert not ticks.run(lateness_model)
    ticks()
    (first,) = told()
    assert first.startswith("Model lateness_model: build v1/") and first.endswith("was rejected")  # noqa: PT018 - one line
    ticks()
    assert told() == []
    assert not ticks.run(lateness_model, now="2024-01-04T13:00:00")
    ticks()
    (second,) = told()
    assert second != first  # another build: its end is not told, since nothing is over
    WORLD["hope"] = 1
    assert ticks.run(lateness_model, now="2024-01-04T14:00:00")
    ticks("2024-01-04T14:01:00")
    assert "It lasted 14h 1min, from 2024-01-04 00:00" in caplog.text, "since the first of both"
    assert told() == ["Over: Model lateness_model: a newer build was accepted"]


def test_a_rollback_is_told_until_there_is_another_champion(ticks: Ticks, told: Any) -> None:
    days(ticks)
    assert ticks.run(dataset)
    for hour in (13, 14):
        assert ticks.run(lateness_model, now=f"2024-01-04T{hour}:00:00")
    models = ticks.stores.model_store()
    first = models.aliases("lateness_model").history[0].champion
    with pytest.raises(
        StoreError, match="is another build than it: 'v1/.*' has the same cutoff, code, data and figures"
    ):
        models.roll_back("lateness_model", reason="it answers the same for everybody", by="ann")
    models.roll_back("lateness_model", to=first, reason="it answers the same for everybody", by="ann")
    ticks()
    (rollback,) = told()
    assert rollback.startswith("Model lateness_model was rolled back from v1/")
    assert ticks.run(lateness_model, now="2024-01-04T15:00:00")
    ticks()
    assert told() == ["Over: Model lateness_model has a new champion since it was rolled back"]


def test_a_model_store_that_cannot_be_read_hides_nothing_else(ticks: Ticks, told: Any) -> None:
    days(ticks)
    assert ticks.run(dataset)
    WORLD["hope"] = 0
    assert not ticks.run(lateness_model)
    ticks()
    assert len(told()) == 1
    (manifest,) = ticks.stores.model_store().root.glob("lateness_model/v1/*/manifest.json")
    text = manifest.read_text()
    manifest.write_text("{")
    ticks()
    assert told() == ["The model store cannot be read for lateness_model"]  # the rejected build is not over
    manifest.write_text(text)
    ticks()
    assert told() == ["Over: The model store can be read for lateness_model again"]


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def webhook(port: int = 0, status: int = 200) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", port), _Hook)
    server.bodies, server.status = [], status  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_target_that_is_down_gets_everything_later_in_order(ticks: Ticks, told: Any, tmp_path: Any) -> None:
    port = free_port()
    days(ticks)
    ticks.alerts = fti.Alerts(to=[f"json://ann:s3cret@127.0.0.1:{port}/hook", "log"], seconds=1)
    WORLD["temp"] = 60.0
    ticks.run(readings, "2024-01-04")
    result = ticks()
    assert "has not taken 1 messages" in result
    assert "s3cret" not in result + ticks.cursor
    assert len(told()) == 1  # the log does not wait for the webhook
    with webhook(port, status=500) as server:
        assert "has not taken 1 messages" in ticks()
        assert len(server.bodies) == 1  # type: ignore[attr-defined]
    WORLD["temp"] = 20.0
    ticks.run(readings, "2024-01-04")
    assert "has not taken 2 messages" in ticks()
    with webhook(port) as server:
        assert ticks() == "all is well"
        ticks()
    titles = [body["title"] for body in server.bodies]  # type: ignore[attr-defined]
    assert [title.partition(" temp")[0] for title in titles] == ["Check", "Over: Check"]
    assert [body["type"] for body in server.bodies] == ["warning", "success"]  # type: ignore[attr-defined]
    assert "Run " in server.bodies[0]["message"]  # type: ignore[attr-defined]


def test_a_mail_goes_out(ticks: Ticks) -> None:
    lines: list[str] = []

    class Mailbox(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            in_data = False
            for line in self.rfile:
                text = line.decode().strip()
                lines.append(text)
                if in_data and text != ".":
                    continue
                command = text.upper()
                in_data = command == "DATA"
                self.wfile.write(
                    b"354 go on\r\n" if in_data else b"221 bye\r\n" if command == "QUIT" else b"250 fine\r\n"
                )

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"mailto://127.0.0.1:{server.server_address[1]}?from=fti@example.com&to=ann@example.com&mode=insecure"
        ticks.alerts = fti.Alerts(to=[address], seconds=2)
        WORLD["crash"] = True
        ticks.run(readings, "2024-01-03")
        result = ticks("2024-01-03T12:00:00")
        server.shutdown()
    assert "has not taken" not in result
    assert any("ann@example.com" in line for line in lines)
    assert any(line.startswith("Subject:") and "readings_v1 failed" in line for line in lines)


def test_a_storm_is_few_messages_and_loses_none() -> None:
    cursor = AlertsCursor()
    cursor.queue(["log"], [Message(f"cause {number}", "", "begun") for number in range(40)])
    messages: list[str] = []

    class Log:
        def warning(self, line: str) -> None:
            messages.append(line)

        info = error = warning

    assert deliver(cursor, fti.Alerts(), Log()) == []
    assert len(messages) == 11
    assert all(
        any(f"cause {number}" in line.split("\n") or f"- cause {number}" in line.split("\n") for line in messages)
        for number in range(40)
    )
    assert cursor.waiting == {}


def test_messages_that_were_left_out_are_counted() -> None:
    cursor = AlertsCursor()
    for number in range(3):
        cursor.queue(["json://***"], [Message(f"{number} {one}", "", "begun") for one in range(MOST_WAITING)])
    cursor = AlertsCursor.of(cursor.text())
    assert len(cursor.waiting["json://***"]) == MOST_WAITING
    assert cursor.left_out == {"json://***": 2 * MOST_WAITING}
    cursor.queue(["log"], [])  # a target that is no longer declared is forgotten
    assert (cursor.waiting, cursor.left_out) == ({}, {})


SPOILED = '{"causes": {"a": {"occurrence": "", "title": "a", "end": "", "since": "then"}}}'


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"causes": {"a": 1}}', '{"waiting": {"log": [{"x": 1}]}}', SPOILED]
)
def test_a_cursor_that_somebody_spoiled_is_begun_anew(text: str) -> None:
    assert AlertsCursor.of(text) == AlertsCursor()


def test_unseen_subjects_stay_as_they_were() -> None:
    before = {name: OpenCause("", name, "", "2024-01-01") for name in ("step a", "step b", "check a")}
    changes = changes_of(before, Findings((Cause("check c", "c", ""),), frozenset({"step *"})), datetime(2024, 1, 2))
    assert set(changes.open) == {"step a", "step b", "check c"}
    assert [one.title for one in changes.over] == ["check a"]
    assert [one.title for one in changes.begun] == ["c"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"to": []}, "give a list of addresses"),
        ({"to": "log"}, "takes a list of text"),
        ({"to": ["slack"]}, "which is no address"),
        ({"to": ["mail to://s3cret"]}, "which is no address"),
        ({"to": [3]}, "in which 3 does not fit"),
        ({"at_least": "info"}, "it is 'warning' or 'error'"),
        ({"seconds": 0}, "more than 0"),
    ],
)
def test_alerts_that_say_nothing_sensible_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem) as caught:
        fti.Alerts(**arguments)
    assert "s3cret" not in str(caught.value)


def test_definitions_watch_only_if_somebody_is_told() -> None:
    names = {one.name for one in fti.build_definitions([readings]).sensors or ()}
    watched = fti.build_definitions([readings], resources={"alerts": fti.Alerts()})
    assert {one.name for one in watched.sensors or ()} - names == {"readings_alerts"}
    dg.Definitions.validate_loadable(watched)
