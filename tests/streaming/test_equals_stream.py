"""The night: a run over a streamed partition says whether it gives the rows that the service stored."""

from __future__ import annotations

import json

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.testing import MemoryStream
from tests.streaming.test_runs_beside import frame, group_over, materialize
from tests.streaming.test_service import World
from tests.support.payments import DAY, MINUTE, payment, payments

NIGHT = "2024-05-03T00:00:00Z"
AT = DAY + 660 * MINUTE
CONTENTS = [payment("a", amount=1.0), payment("b", amount=2.0), payment("c", amount=3.0)]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def events():
    return MemoryStream("payments")


def equals_stream(result) -> dg.AssetCheckEvaluation:
    [check] = [one for one in result.get_asset_check_evaluations() if one.check_name == "equals_stream"]
    return check


def counts(check) -> tuple[int, int, int]:
    return tuple(check.metadata[name].value for name in ("only_in_batch", "only_in_stream", "other_values"))


def rows_of(check) -> list[dict]:
    return [one.data for one in check.metadata["sample"].records]


def streamed(world, events, archive, **terms):
    group = group_over(archive, events, online=False, **terms)
    events.put(*CONTENTS, at=AT)
    world.run(group)
    return group


def note(world, group) -> dict | None:
    with world.offline.connect() as lake:
        return json.loads(lake.ledger(group.table)["2024-05-01"].record).get("stream")


def test_a_run_that_gives_the_rows_of_the_stream_passes(world, events):
    group = streamed(world, events, [frame(*CONTENTS, stored_at=AT)])
    check = equals_stream(materialize(world, group, at=NIGHT))
    assert check.passed
    assert check.metadata["stream_version"] == check.metadata["batch_version"]
    assert note(world, group) == {}


@pytest.mark.soak
def test_rows_that_differ_are_named(world, events):
    a, b, _ = CONTENTS
    archive = frame(a, {**b, "amount": 9.0}, payment("d"), stored_at=AT)
    group = streamed(world, events, [archive])
    events.put(payment("e", "2024-05-02T10:00:00Z"), at=AT + 1440 * MINUTE)
    world.run(group, at="2024-05-02T12:00:00Z")  # the service has come further than the rows of the day
    result = materialize(world, group, at=NIGHT)
    check = equals_stream(result)
    assert result.success
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert counts(check) == (1, 1, 1)
    assert rows_of(check)[2] == {
        "difference": "other values",
        "row": "card 'b', at 2024-05-01 10:00:00, stored_at 2024-05-01 11:00:00.000001",
        "values": "amount is 9.0 in batch and 2.0 in stream",
    }
    assert "payments_v1 '2024-05-01': the rows of the run are not those of the stream, 1 only in the batch" in str(
        check.description
    )
    assert [row[0] for row in world.rows(group)] == ["a", "b", "d", "e"]


def test_a_run_that_is_repeated_is_compared_with_the_stream_and_not_with_itself(world, events):
    archive = [frame(*CONTENTS[:2], stored_at=AT)]
    group = streamed(world, events, archive)
    assert not equals_stream(materialize(world, group, at=NIGHT)).passed
    events.put(payment("e", "2024-05-01T11:00:00Z"), at=AT + 2000 * MINUTE)  # late, after the run
    world.run(group, at="2024-05-03T01:00:00Z")
    check = equals_stream(materialize(world, group, at="2024-05-03T02:00:00Z"))
    assert counts(check) == (0, 2, 0)  # c as before, and the late one
    late = frame(payment("e", "2024-05-01T11:00:00Z"), stored_at=AT + 2000 * MINUTE)
    archive[0] = archive[0].__class__(frame(*CONTENTS, stored_at=AT).to_dict("records") + late.to_dict("records"))
    assert equals_stream(materialize(world, group, at="2024-05-03T03:00:00Z")).passed
    assert note(world, group) == {}


@pytest.mark.soak
def test_rows_that_the_service_has_not_flushed_are_no_differences(world, events):
    group = streamed(world, events, [frame(*CONTENTS, payment("d"), stored_at=AT)])
    check = equals_stream(materialize(world, group, at=NIGHT))
    assert (check.passed, counts(check), check.metadata["not_flushed_yet"].value) == (True, (0, 0, 0), 1)
    events.put(payment("d"), at=AT + 3)
    world.run(group, at="2024-05-03T01:00:00Z")
    assert equals_stream(materialize(world, group, at="2024-05-03T02:00:00Z")).passed


def test_rows_from_before_the_stream_began_are_no_differences(world, events):
    early = frame(payment("z"), stored_at=AT - MINUTE)
    archive = early.__class__(early.to_dict("records") + frame(*CONTENTS, stored_at=AT).to_dict("records"))
    group = streamed(world, events, [archive])
    assert equals_stream(materialize(world, group, at=NIGHT)).passed


def test_a_partition_of_which_nothing_was_streamed_is_not_judged(world, events):
    archive = [frame(payment("a"), stored_at=AT)]
    group = group_over(archive, events, online=False)
    for amount in (1.0, 2.0):
        archive[0] = frame(payment("a", amount=amount), stored_at=AT)
        check = equals_stream(materialize(world, group, at=NIGHT))
        assert check.passed
        assert "nothing of these partitions" in str(check.metadata["judged"].value)


@pytest.mark.soak
def test_what_an_open_archive_lacks_at_its_end_is_no_difference(world, events):
    group = streamed(world, events, [frame(*CONTENTS[:2], stored_at=AT)])
    assert equals_stream(materialize(world, group)).passed
    assert not equals_stream(materialize(world, group, at=NIGHT)).passed


def test_a_group_that_must_equal_its_stream_keeps_the_streamed_rows(world, events):
    group = streamed(world, events, [frame(*CONTENTS[:2], stored_at=AT)], must_equal_stream=True)
    for _ in range(2):
        with pytest.raises(dg.Failure, match="the rows of the run are not those of the stream, 1 only in the stream"):
            materialize(world, group, at=NIGHT)
        assert len(world.rows(group)) == 3


def test_streamed_rows_that_are_gone_are_said_to_be(world, events):
    group = streamed(world, events, [frame(*CONTENTS[:2], stored_at=AT)])
    materialize(world, group, at=NIGHT)
    with world.offline.connect() as lake:
        lake.connection.execute("CALL ducklake_expire_snapshots('lake', older_than => now() + INTERVAL 1 DAY)")
    check = equals_stream(materialize(world, group, at=NIGHT))
    assert "cannot be read any more" in str(check.description)


def test_only_a_group_with_a_stream_must_equal_one():
    with pytest.raises(DeclarationError, match="must_equal_stream=True but takes no stream"):
        fti.feature_group(keys=["card"], name="payments", must_equal_stream=True)(lambda: None)
    assert "equals_stream" in {key.name for key in payments(MemoryStream("payments")).assets_def.check_keys}
