"""A service that is killed at any boundary of its steps loses no event and takes none twice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core import clock
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.sqlite.writer import SqliteWriter
from fti_assets.stores.online.store import online_store
from fti_assets.streaming.online import OnlineRows
from fti_assets.streaming.outbox import Outbox
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing.memory_stream import MemoryStream, MemorySubscription
from tests.support.payments import DAY, MINUTE, payment, payments, spending

STEPS: dict[str, tuple[type, str]] = {
    "fetch": (MemorySubscription, "fetch"),
    "outbox": (Outbox, "append"),
    "online write": (OnlineRows, "write"),
    "namespace": (SqliteWriter, "apply"),
    "whole namespace": (SqliteWriter, "load"),
    "ack": (MemorySubscription, "ack"),
    "records": (Lake, "put_records"),
    "files": (Lake, "sync_new_files"),
    "commit": (Lake, "last_commit"),
    "discard": (Outbox, "discard"),
    "advance": (OnlineRows, "advance"),
    "begin": (Outbox, "begin_at"),
}
"""Each step that changes something outside the process, by what makes it."""


class Killed(BaseException):
    """As if the process had ended here."""


@contextmanager
def killed(step: str, *, after: bool, times: int) -> Iterator[None]:
    """The process ends at the n-th call of a step, before or after it: nothing that changes anything outside is done from then on."""
    calls, is_dead = 0, False

    def ends_before(name: str) -> None:
        nonlocal calls, is_dead
        calls += name == step
        is_dead = is_dead or (name == step and calls == times and not after)
        if is_dead:
            raise Killed

    def ends_after(name: str) -> None:
        nonlocal is_dead
        is_dead = is_dead or (name == step and calls == times)
        if is_dead:
            raise Killed

    def mortal(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def called(*arguments: Any, **keywords: Any) -> Any:
            ends_before(name)
            result = original(*arguments, **keywords)
            ends_after(name)
            return result

        @wraps(original)
        async def awaited(*arguments: Any, **keywords: Any) -> Any:
            ends_before(name)
            result = await original(*arguments, **keywords)
            ends_after(name)
            return result

        return awaited if iscoroutinefunction(original) else called

    with pytest.MonkeyPatch.context() as patch:
        for name, (owner, attribute) in STEPS.items():
            patch.setattr(owner, attribute, mortal(name, getattr(owner, attribute)))
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    group = declared()
    run(group, folder)
    return state(group, folder)


def declared():
    events = MemoryStream("payments", shards=2)
    group = payments(events, online=True)
    for number in range(12):
        shard = number % 2
        content: Any = payment(
            "abcd"[number % 4], f"2024-05-01T{8 + (number * 5) % 4:02}:{number:02}:00Z", amount=float(number)
        )
        events.put(b"no JSON" if number in (3, 8) else content, at=DAY + (660 + number) * MINUTE, shard=shard)
    return group


def run(group, folder: Path) -> None:
    """A service from its start until it has caught up; its first events are hours old, so that turns are put online together."""
    windows = [spending(group)]
    with clock.at("2024-05-01T12:00:00Z"):
        asyncio.run(
            stream(
                [group],
                OfflineStore(folder / "lake"),
                online_store(str(folder / "online")),
                folder / "outbox",
                windows=windows,
                settings=Settings(batch_seconds=0.0, batch_events=2, flush_seconds=0.02, until_caught_up=True),
            )
        )


def state(group, folder: Path) -> tuple[Any, Any]:
    """What the lake's ledger says, all rows and dead letters, all online blobs, and windows at many instants."""
    with OfflineStore(folder / "lake").connect() as lake:
        ledger = {key: (one.data_version, one.rows) for key, one in lake.ledger(group.table).items()}
        rows = lake.rows(group.table).order("ALL").fetchall()
        letters = lake.connection.execute(
            "SELECT shard, sequence, reason FROM lake.streaming.payments_v1_dead_letters ORDER BY ALL"
        ).fetchall()
    online = online_store(str(folder / "online"))
    windows = online.reader("spending_v1")
    values = {
        (card, minutes): windows.get((card,), at_us=DAY + minutes * MINUTE)
        for card in "abcd"
        for minutes in range(660, 721)
    }
    return (ledger, rows, letters), (dict(online.everything(group.table_name)[1]), values)


TRIALS = 3


@pytest.mark.parametrize("trial", range(TRIALS))
def test_nothing_is_lost_or_doubled_by_kills_at_several_steps(trial, expected, tmp_path):
    """Each step is one at which a service of some trial is killed."""
    group = declared()
    for number, step in enumerate([*STEPS][trial::TRIALS]):
        with killed(step, after=number % 2 == 1, times=1), suppress(Killed):
            run(group, tmp_path)
    run(group, tmp_path)
    assert state(group, tmp_path) == expected


@pytest.mark.soak
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_lost_or_doubled_by_kills_before_and_after_a_step(step, expected, tmp_path):
    group = declared()
    for after, times in ((False, 1), (True, 2), (True, 1), (False, 3)):
        with killed(step, after=after, times=times), suppress(Killed):
            run(group, tmp_path)
    run(group, tmp_path)
    assert state(group, tmp_path) == expected


def test_an_outbox_that_is_lost_costs_nothing_that_the_broker_has(expected, tmp_path):
    group = declared()
    with killed("records", after=False, times=2), pytest.raises(Killed):
        run(group, tmp_path)
    for file in (tmp_path / "outbox").rglob("*.sqlite*"):
        file.unlink()
    run(group, tmp_path)
    assert state(group, tmp_path) == expected


@pytest.mark.soak
def test_a_lake_that_was_put_back_to_an_earlier_state_gets_its_rows_from_the_broker_again(expected, tmp_path):
    group = declared()
    events = [list(shard) for shard in group.stream.stored]
    for shard in group.stream.stored:
        del shard[3:]
    run(group, tmp_path)
    shutil.copytree(tmp_path / "lake", tmp_path / "copy")
    for shard, whole in zip(group.stream.stored, events, strict=True):
        shard[:] = whole
    run(group, tmp_path)
    shutil.rmtree(tmp_path / "lake")
    shutil.copytree(tmp_path / "copy", tmp_path / "lake")
    run(group, tmp_path)
    assert state(group, tmp_path) == expected
