"""The replay itself: morning after morning files land, people deploy, and the system is left alone until it is settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg

import fti_assets as fti
from examples.flight_delays.year.evaluation import Week, served
from examples.flight_delays.year.landing import Landings
from fti_assets.core.manifest import ModelManifest
from fti_assets.stores.models.aliases import AliasChange
from fti_assets.testing.rehearsal import Rehearsal, RehearsedRun

MORNING = timedelta(days=1, hours=6)
"""After the start of a day: when its files land."""

RETRAIN = "fti/retrain"


@dataclass(frozen=True)
class Deployment:
    """What is deployed from a morning on, and why."""

    what: str
    definitions: dg.Definitions


@dataclass(frozen=True)
class Story:
    """What happens to a system from outside.

    Args:
        first: the first day that is replayed by itself; what is before has landed when the system is switched on.
        last: the last one.
        history: the first day of what has landed before.
        landings: how files land.
        start: what is deployed at first.
        deployments: by the day on whose morning they are.
        undone_after: the model, after a rollback of which the first deployment comes back on the next morning.
        model: the model whose builds and champions are told.
        monitor: whose table tells the served quality.
        stores: of the system.
    """

    first: date
    last: date
    history: date
    landings: Landings
    start: dg.Definitions
    deployments: Mapping[date, Deployment]
    model: str
    monitor: Any
    stores: fti.Stores


@dataclass(frozen=True)
class Event:
    """Something that happened, in words: when by the clock, and of what kind (``landing``, ``run``, ``training``, ``champion``)."""

    at: datetime
    kind: str
    what: str


@dataclass
class Timeline:
    """What became of a story."""

    weeks: list[Week] = field(default_factory=list)
    builds: list[ModelManifest] = field(default_factory=list)
    champions: list[AliasChange] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    days: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def rejected(self) -> list[ModelManifest]:
        """The builds that their gates turned down."""
        return [one for one in self.builds if one.status == "rejected"]

    @property
    def rollbacks(self) -> list[AliasChange]:
        """The champions that were rolled back on evidence."""
        return [one for one in self.champions if one.fresh is not None]


def replay(story: Story, instance: dg.DagsterInstance, *, say: Callable[[str], None] = print) -> Timeline:
    """Replay a story day by day, and tell what became of it.

    Args:
        story: what happens.
        instance: Dagster's, empty.
        say: takes a line of each event as it happens.
    """
    rehearsal, timeline, landings = Rehearsal(story.start, instance), Timeline(), story.landings
    spent_s = {"landing": 0.0}
    rehearsal.settle(datetime.combine(story.first, datetime.min.time()))  # switched on before anything is there
    landings.of_start()
    for number in range((story.first - story.history).days):
        landings.of_day(story.history + timedelta(days=number))
    undo, rollbacks = False, 0
    day = story.first
    while day <= story.last:
        morning = datetime.combine(day, datetime.min.time()) + MORNING
        started, events = time.process_time(), len(timeline.events)
        landings.of_day(day)
        timeline.events += [Event(morning, "landing", one.what) for one in landings.faults if one.day == day]
        timeline.events += [
            Event(morning, "landing", f"the correct file of {one.source} for {one.day} lands")
            for one in landings.due(day)
        ]
        if undo:
            rehearsal.definitions, undo = story.start, False
            timeline.events.append(Event(morning, "champion", "the deployment that was rolled back is undone"))
        if day in story.deployments:
            deployment = story.deployments[day]
            rehearsal.definitions = deployment.definitions
            timeline.events.append(Event(morning, "champion", deployment.what))
        spent_s["landing"] += time.process_time() - started
        runs = rehearsal.settle(morning)
        timeline.events += [event for run in runs for event in events_of(run)]
        history = story.stores.model_store().aliases(story.model).history
        done = [one for one in history if one.fresh is not None]
        undo, rollbacks = len(done) > rollbacks and rehearsal.definitions is not story.start, len(done)
        for event in timeline.events[events:]:
            say(f"{event.at:%Y-%m-%d} {event.what}")
        timeline.days += 1
        day += timedelta(days=1)
    store = story.stores.model_store()
    timeline.builds = sorted(store.builds(story.model), key=lambda one: one.created_at)
    timeline.champions = list(store.aliases(story.model).history)
    timeline.weeks = served(
        story.monitor,
        story.stores,
        datetime.combine(story.last, datetime.min.time()) + MORNING - story.monitor.maturity,
    )
    timeline.events += [
        Event(datetime.fromisoformat(one.at), "champion", f"champion is {one.champion}: {one.reason}")
        for one in timeline.champions
    ]
    timeline.events.sort(key=lambda one: one.at)
    timeline.cpu_s = {**spent_s, **parts_of(rehearsal)}
    return timeline


def events_of(run: RehearsedRun) -> list[Event]:
    """What is worth telling of a run: that it failed, or why it trains."""
    events = [
        Event(run.at, "run", f"{step} of {(run.partitions or ('all',))[0]} fails: {first_line(why)}")
        for step, why in run.failures.items()
    ]
    if RETRAIN in run.tags:
        cutoff = (run.partitions or ("",))[0]
        events.append(
            Event(
                run.at,
                "training",
                f"{run.sensor.removesuffix('_retraining')} is trained at {cutoff}: {run.tags[RETRAIN]}",
            )
        )
    return events


def first_line(text: str) -> str:
    """The first sentence of a reason, shortened; later ones say where things lie on this machine."""
    line = text.strip().splitlines()[0].split(". ")[0] if text.strip() else "no reason"
    return line if len(line) <= 160 else f"{line[:157]}..."


def parts_of(rehearsal: Rehearsal) -> dict[str, float]:
    """Where the CPU seconds went, by what was made; of a run of several assets by all of them together."""
    spent: dict[str, float] = {}
    for run in rehearsal.runs:
        part = "training" if RETRAIN in run.tags else part_of(run.assets)
        spent[part] = spent.get(part, 0.0) + run.cpu_s
    return {**spent, "sensors and conditions": sum(rehearsal.sensor_cpu_s.values())}


def part_of(assets: tuple[str, ...]) -> str:
    """What a run of some assets is for."""
    names = " ".join(assets)
    for word, part in {"watch": "monitor", "review": "review", "predictions": "predictions"}.items():
        if word in names:
            return part
    return "features"
