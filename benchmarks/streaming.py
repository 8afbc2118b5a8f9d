"""CPU time of an event that ``fti stream`` takes, beside a consumer by hand that does the same to stores of the same kinds.

``python -m benchmarks.streaming`` has each side catch up, in a process of its own, with 500,000 payments of 20,000 cards that a day
brought to a stream in memory: JSON to rows that are held against a schema, a durable outbox in SQLite, each card's newest row and its
windows at the time of a request (count, sum and maximum over 10 minutes and 24 hours) in SQLite with the position in one transaction,
and every five seconds a commit to DuckLake with the position in it. Both read the stream by one client, so that the ratio is that of
what is done to the events. The consumer by hand keeps each payment as a row and adds up when it is asked. What both stored must be the
same, and what both answer of 2,000 cards. Other numbers of events are arguments, as in ``500000 1500000``: more than half a million are
of more days, so that what the windows hold is as much, and memory is compared over the least and the most of them. ``--nats`` reads a
stream of JetStream instead, whose payments were all stored within seconds. ``--latency 30`` sends 1,000 events a second for so many
seconds, and says how long each took to be online, and the CPU time of each, beside the consumer by hand with the same pause between its
turns.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import dagster as dg
import numpy as np
import pandera.pandas as pa

import fti_assets as fti
from benchmarks.consumer_by_hand import BATCH, FLUSH_SECONDS, HOUR, MINUTE, ByHand, fingerprint
from fti_assets.core.times import microseconds
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream, Subscription
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream, publish
from fti_assets.testing.memory_stream import MemorySubscription

GOAL, EVENTS_A_SECOND, FLAT = 1.5, 10_000, 1.3
EVENTS, CARDS, ASKED = 500_000, 20_000, 2_000
END = datetime(2025, 3, 2, 12)
NATS = "nats://127.0.0.1:4222"


class Payments(pa.DataFrameModel):
    card: str
    paid_at: datetime
    stored_at: datetime
    amount: float = pa.Field(ge=0)
    terminal: int
    is_online: bool


def declared(events: EventStream) -> tuple[FeatureGroup, FeatureGroup]:
    """The payments, and the windows over them."""
    group = fti.stream_feature_group(
        name="payments", keys=["card"], event_time="paid_at", available_at="stored_at", schema=Payments, online=True, stream=events,
        partitions_def=dg.DailyPartitionsDefinition(start_date="2025-01-01"), online_history="10min",
    )  # fmt: skip
    windows = fti.request_windows(
        group, name="spending", keys=["card"], every="1h", windows=["10min", "24h"], online=True, online_history="10min",
        aggregates={"n": fti.Count(), "spent": fti.Sum("amount"), "most": fti.Max("amount")},
    )  # fmt: skip
    return group, windows


def payloads(number: int, end: datetime) -> tuple[np.ndarray, list[bytes]]:
    """When events are stored, up to half a million a day before an end, and what they say; amounts are quarters: sums have no order."""
    rng, span = np.random.default_rng(0), max(24 * HOUR * number // EVENTS, 24 * HOUR)
    stored = np.sort(microseconds(end) - span + rng.integers(0, span, number))
    paid = np.datetime_as_string((stored - rng.integers(0, 2_000_000, number)).astype("datetime64[us]")).tolist()
    cards, terminals = rng.integers(0, CARDS, number).tolist(), rng.integers(0, 5_000, number).tolist()
    amounts = (rng.integers(1, 4_000, number) / 4).tolist()
    return stored, [
        b'{"card":"c%d","paid_at":"%sZ","amount":%a,"terminal":%d,"is_online":%s}'
        % (card, at.encode(), amount, terminal, b"true" if terminal % 2 else b"false")
        for card, at, amount, terminal in zip(cards, paid, amounts, terminals, strict=True)
    ]


def source(what: Mapping[str, Any]) -> EventStream:
    if what["nats"]:
        return fti.NatsStream(what["nats"], url=NATS)
    events = MemoryStream("payments")
    stored, texts = payloads(what["events"], END)
    events.stored[0].extend(
        Event(0, place + 1, at, text) for place, (at, text) in enumerate(zip(stored.tolist(), texts, strict=True))
    )
    return events


def most_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in status if "VmHWM" in line).split()[1]) / 1024


async def ours(events: EventStream, folder: Path) -> None:
    settings = Settings(batch_seconds=0.0, batch_events=BATCH, flush_seconds=FLUSH_SECONDS, until_caught_up=True)
    group, windows = declared(events)
    stores = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
    await stream([group], *stores, folder / "outbox", settings=settings, windows=[windows])


def our_answers(folder: Path, cards: Sequence[str], now: int) -> list[Any]:
    store = online_store(str(folder / "online"))
    newest = store.reader("payments_v1", columns=["amount", "terminal"])
    spending = store.reader(
        "spending_v1", columns=[f"{name}_{w}" for w in ("10min", "24h") for name in ("n", "spent", "most")]
    )
    answers = []
    for card in cards:
        one, of_windows = newest.get((card,), now), spending.get((card,), now)
        # A card of which no window holds a row has none, or one with counts of 0.
        answers.append([one and list(one.values), list(of_windows.values) if of_windows else None])
    return [[one, [value or 0 for value in of_windows or [0] * 6]] for one, of_windows in answers]


def our_rows(folder: Path) -> Any:
    with OfflineStore(folder / "lake").connect() as lake:
        return fingerprint(lake.connection, declared(MemoryStream("payments"))[0].table.sql)


def side(what: Mapping[str, Any]) -> dict[str, Any]:
    """What one side takes, and what it stored and answers."""
    events, folder = source(what), Path(what["folder"])
    cards = [f"c{number}" for number in range(ASKED)]
    # From here on the most is counted again.
    Path("/proc/self/clear_refs").write_text("5")
    held, cpu, wall = most_mb(), time.process_time(), time.monotonic()
    by_hand = None
    if what["side"] == "ours":
        asyncio.run(ours(events, folder))
    else:
        by_hand = ByHand(folder)
        asyncio.run(by_hand.run(events))
    result = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall, "mb": most_mb() - held}
    now = what["now"]
    if by_hand is None:
        return result | {"rows": our_rows(folder), "answers": our_answers(folder, cards, now)}
    return result | {"rows": fingerprint(by_hand.lake, "lake.payments"), "answers": by_hand.answers(cards, now)}


def both(number: int, nats: bool) -> dict[str, dict[str, Any]]:
    """Both sides over the same events."""
    what: dict[str, Any] = {"events": number, "nats": None, "now": microseconds(END)}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "FTI_THREADS": "1", "FTI_NOW": f"{END.isoformat()}Z"}
    if nats:
        what["nats"] = f"fti_benchmark_{uuid4().hex[:10]}"
        _, texts = payloads(number, datetime.now(UTC).replace(tzinfo=None))
        events = fti.NatsStream(what["nats"], url=NATS)
        for start in range(0, number, 2_000):
            publish(events, texts[start : start + 2_000])
        what["now"] = microseconds(datetime.now(UTC).replace(tzinfo=None)) + MINUTE
        del environment["FTI_NOW"]
    results = {}
    try:
        for name in ("ours", "by_hand"):
            with tempfile.TemporaryDirectory() as folder:
                argument = json.dumps(what | {"side": name, "folder": folder})
                command = [sys.executable, "-m", "benchmarks.streaming", "--side", argument]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
                results[name] = json.loads(output)
    finally:
        if nats:
            asyncio.run(deleted(what["nats"]))
    mine, hand = results["ours"], results["by_hand"]
    assert mine["rows"] == hand["rows"], f"the lakes differ: {mine['rows']} and {hand['rows']}"
    assert mine["rows"][0] == number, f"{mine['rows'][0]} rows of {number} events"
    different = [pair for pair in zip(mine["answers"], hand["answers"], strict=True) if pair[0] != pair[1]]
    assert not different, f"{len(different)} cards answer otherwise, as {different[0]}"
    return results


async def deleted(name: str) -> None:
    import nats

    client = await nats.connect(NATS)
    await client.jetstream().delete_stream(name)
    await client.close()


class TimedSubscription(MemorySubscription):
    """Notes when events are acknowledged, which is after their values are online."""

    async def ack(self, positions: Mapping[int, int]) -> None:
        cast(TimedStream, self._stream).online_at.append((positions[0], time.time()))


class TimedStream(MemoryStream):
    online_at: list[tuple[int, float]]

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        return TimedSubscription(self, {shard: after.get(shard, -1) for shard in shards})


def latency(seconds: int) -> None:
    """At 1,000 events a second: from when an event is stored to when its values are online, and the CPU time of each, beside by hand."""
    _, texts = payloads(1_000 * seconds, datetime.now(UTC).replace(tzinfo=None))
    results = {}
    for name, consumer in (("ours", live), ("by_hand", live_by_hand)):
        events = TimedStream("payments")
        object.__setattr__(events, "online_at", [])
        with tempfile.TemporaryDirectory() as folder:
            cpu = asyncio.run(sent_to(consumer, events, texts, Path(folder)))
        waits, place = [], 0
        for sequence, at in events.online_at:
            waits += [at - event.stored_at / 1e6 for event in events.stored[0][place:sequence]]
            place = max(place, sequence)
        p50, p99 = np.percentile(waits, [50, 99]) * 1_000
        results[name] = {
            "events": len(waits), "p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "cpu_us": round(cpu / len(texts) * 1e6),
        }  # fmt: skip
    ratio = results["ours"]["cpu_us"] / results["by_hand"]["cpu_us"]
    print(json.dumps({"benchmark": "streaming_live", **results, "ratio": round(ratio, 2), "goal": GOAL}))


async def live(events: EventStream, folder: Path, stop: asyncio.Event) -> None:
    group, windows = declared(events)
    stores = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
    await stream([group], *stores, folder / "outbox", stop=stop, windows=[windows])


async def live_by_hand(events: EventStream, folder: Path, stop: asyncio.Event) -> None:
    await ByHand(folder).run(events, stop=stop, pause=Settings().batch_seconds, flush_seconds=Settings().flush_seconds)


async def sent_to(consumer: Any, events: TimedStream, texts: Sequence[bytes], folder: Path) -> float:
    """The CPU time that a consumer takes for events that are stored when they are due, a thousand a second."""
    stop, sending = asyncio.Event(), 0.0
    service = asyncio.create_task(consumer(events, folder, stop))
    await asyncio.sleep(1)
    cpu, begin = time.process_time(), time.time()
    while len(events.stored[0]) < len(texts):
        await asyncio.sleep(0.005)
        sent = time.thread_time()
        due = int((time.time() - begin) * 1_000)
        for place in range(len(events.stored[0]), min(due, len(texts))):
            # Stored when it was due, so that a loop that was held up counts.
            events.put(texts[place], at=int((begin + place / 1_000) * 1e6))
        sending += time.thread_time() - sent
    await asyncio.sleep(2)
    stop.set()
    await service
    return time.process_time() - cpu - sending


def main(arguments: Sequence[str]) -> None:
    nats = "--nats" in arguments
    results = {}
    for number in [int(one) for one in arguments if one.isdigit()] or [EVENTS]:
        results[number] = both(number, nats)
        mine, hand = results[number]["ours"], results[number]["by_hand"]
        print(
            f"{number:10,} events: {mine['cpu'] / number * 1e6:.0f} us of CPU each, by hand {hand['cpu'] / number * 1e6:.0f}: "
            f"{mine['cpu'] / hand['cpu']:.2f}x; {number / mine['cpu']:,.0f} events a CPU second, {number / mine['wall']:,.0f} a second; "
            f"{mine['mb']:.0f} MB more at most, by hand {hand['mb']:.0f}",
            flush=True,
        )
    least, most = results[min(results)], results[max(results)]
    ratio = most["ours"]["cpu"] / most["by_hand"]["cpu"]
    print(
        json.dumps(
            {
                "benchmark": "streaming", "ratio": round(ratio, 2), "goal": GOAL, "reached": ratio <= GOAL,
                "events_a_cpu_s": round(max(results) / most["ours"]["cpu"]), "events_goal": EVENTS_A_SECOND,
                "memory_ratio": round(most["ours"]["mb"] / least["ours"]["mb"], 2), "memory_goal": FLAT,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(side(json.loads(sys.argv[2]))))
    elif sys.argv[1:2] == ["--latency"]:
        latency(int(sys.argv[2]))
    else:
        main(sys.argv[1:])
