"""Runs ahead of their service, in any order of steps: no reader ever sees a row of a window twice.

The amount of each event is a power of four, so that a sum says how often it counts each of them.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core import clock
from fti_assets.core.names import PARTITION
from fti_assets.core.times import from_microseconds
from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.events.reading import SEQUENCE, SHARD, EventReader
from fti_assets.features.online.load import load_online
from fti_assets.features.steps.streamed_run import replace_streamed
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.stores.streams.event import Event
from fti_assets.streaming.flusher import Flusher
from fti_assets.streaming.micro_batch import MicroBatches
from fti_assets.streaming.outbox import open_outbox
from fti_assets.testing import MemoryStream
from tests.support.payments import DAY, MINUTE, payment, payments, spending

FIRST, NOW = DAY + 660 * MINUTE, DAY + 700 * MINUTE
EVENTS = 20
FEW, MANY = 12, 28
"""How many steps a trial has."""


class Service:
    """One service of a group, in steps."""

    def __init__(self, trial: Trial, shard: int) -> None:
        self.trial, self.shard, self.open = trial, shard, ExitStack()
        self.start()

    def start(self) -> None:
        """A service begins, whatever the one before it had done."""
        trial = self.trial
        self.open.close()
        self.flusher = Flusher(trial.group, trial.offline, trial.online, [trial.windows])
        self.open.callback(self.flusher.close)
        path = trial.folder / f"outbox_{self.shard}.sqlite"
        self.outbox = self.open.enter_context(open_outbox(path, of="payments_v1"))
        self.flusher.start(self.outbox, [self.shard])
        self.batches = MicroBatches(trial.group, self.outbox, group_decoder(trial.group))
        held = self.outbox.positions()
        self.taken = held[self.shard].sequence if self.shard in held else 0

    def turn(self) -> None:
        """Some events, as a service takes them."""
        batch = self.keep()
        assert self.flusher.online is not None
        if batch is not None and not self.flusher.online.write(batch.rows, batch.positions):
            self.flusher.load(self.outbox)

    def keep(self) -> Any:
        """Some events into the outbox; whoever ends then has not put them online."""
        events = self.trial.stream.stored[self.shard]
        end = min(len(events), self.taken + self.trial.random.randint(1, 4))
        batch = self.batches.take(events[self.taken : end])
        self.taken = end
        return batch

    def end_in_a_turn(self) -> None:
        self.keep()
        self.start()

    def flush(self) -> None:
        self.flusher.flush(self.outbox, lambda flush: None)


class Trial:
    """A group, its windows, services of it and runs beside them, in steps that a test chooses."""

    def __init__(self, folder: Path, seed: int, services: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.stream = MemoryStream("payments", shards=services)
        self.group = payments(self.stream, online=True)
        self.windows = spending(self.group, "spent", "paid")
        self.offline, self.online = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
        for number in range(EVENTS):
            # Some are stored at one instant, and some are late.
            at = from_microseconds(FIRST - (number * 7 % 5) * MINUTE)
            content = payment("ab"[number % 2], f"{at.isoformat()}Z", amount=4.0**number)
            self.stream.put(content, at=FIRST + number // 2, shard=number % 2 % services)
        self.log: list[str] = []
        self.services = [Service(self, shard) for shard in range(services)]

    def close(self) -> None:
        for service in self.services:
            service.open.close()

    @property
    def events(self) -> list[Event]:
        """All events in the order in which they were stored."""
        return sorted(self.stream.events, key=lambda event: (event.stored_at, event.shard, event.sequence))

    def run(self) -> None:
        """A run whose archive reaches to some event, behind the service or ahead of it; a row of it may be a correction."""
        until = 2 * self.random.randint(1, EVENTS // 2)  # an archive ends between two instants
        rows = EventReader(self.group, group_decoder(self.group)).read(self.events[:until]).rows
        with self.offline.connect() as lake:
            lake.connection.register("given_rows", rows.drop_columns([SHARD, SEQUENCE]))
            corrected = self.random.randint(0, EVENTS)
            lake.connection.execute(
                "CREATE TEMP TABLE given AS SELECT * REPLACE (CASE WHEN amount = ? THEN 8 ELSE terminal END AS terminal) FROM given_rows",
                [4.0**corrected],
            )
            [partition] = partitions_of(self.group.partitions_def, rows[PARTITION].unique().to_pylist())
            replace_streamed(
                lake, self.group, "given", [partition], began=lake.snapshot(), check=lambda: None,
                writer={"asset": "payments", "run_id": ""}, addable=(),
            )  # fmt: skip

    def load(self) -> None:
        """The load at the end of a run; it may come long after the commit."""
        with self.offline.connect() as lake:
            if lake.has(self.group.table):
                for target in (self.group, self.windows):
                    load_online(lake, self.online, target)

    def counts(self) -> dict[str, list[int] | None]:
        """How often each event counts in the window of each key."""
        reader = self.online.reader(self.windows.table_name, columns=["spent_2h", "paid_2h"])
        result: dict[str, list[int] | None] = {}
        for card in "ab":
            winner = reader.get((card,), at_us=NOW)
            if winner is None:
                result[card] = None
                continue
            spent, paid = winner.values
            digits, total = [], int(spent)
            for _ in range(EVENTS):
                digits.append(total % 4)
                total //= 4
            assert sum(digits) == paid
            result[card] = digits
        return result

    def check(self) -> None:
        counts = self.counts()
        for number in range(EVENTS):
            of_card = counts["ab"[number % 2]]
            count = 0 if of_card is None else of_card[number]
            assert count <= 1, f"event {number} counts {count} times after {self.log}"
            shard = number % len(self.services)
            is_taken = number // len(self.services) < self.services[shard].taken
            assert count == 1 or not is_taken, f"event {number} is lost after {self.log}"

    def check_settled(self) -> None:
        """After a flush, all is what a load of the lake alone writes."""
        whole = online_store(str(self.folder / f"whole_{len(self.log)}"))
        with self.offline.connect() as lake:
            for target in (self.group, self.windows):
                load_online(lake, whole, target)
        for target in (self.group, self.windows):
            readers = [store.reader(target.table_name) for store in (self.online, whole)]
            for card in "ab":
                service, load = (reader.get((card,), at_us=NOW) for reader in readers)
                assert service == load, self.log


def run_trial(folder: Path, seed: int, services: int, steps: int = MANY) -> None:
    with clock.at(f"{from_microseconds(NOW).isoformat()}Z"):
        trial = Trial(folder, seed, services)
        try:
            for _ in range(steps):
                service = trial.random.choice(trial.services)
                choices = [service.turn] * 4 + [
                    service.end_in_a_turn,
                    service.start,
                    service.flush,
                    trial.run,
                    *[trial.load] * 2,
                ]
                step = trial.random.choice(choices)
                trial.log.append(f"{step.__name__} {service.shard if services > 1 else ''}")
                step()
                trial.check()
            for service in trial.services * 2:
                service.turn()
                service.flush()
            trial.check_settled()
        finally:
            trial.close()


@pytest.mark.parametrize("services", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_no_interleaving_of_run_and_service_counts_a_row_twice(tmp_path, services):
    run_trial(tmp_path, 0, services, FEW)


@pytest.mark.soak
@pytest.mark.parametrize("services", [1, 2])
def test_no_interleaving_of_many_counts_a_row_twice(tmp_path, services):
    for seed in range(100, 125):
        run_trial(tmp_path / str(seed), seed, services)
