"""What conditions look up for a few partitions, against conditions that walk through all of them at each tick."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.times import Partition
from fti_assets.inference.batch import asset as batch_asset
from fti_assets.orchestration.conditions import defaults, partition_conditions, within_reach
from fti_assets.orchestration.conditions.never_began import NeverBegan
from fti_assets.orchestration.conditions.newest import newest_first, newest_within
from fti_assets.orchestration.conditions.partition_conditions import Answerable
from fti_assets.orchestration.conditions.reach import Reach, join_spans, naive
from fti_assets.orchestration.conditions.within_reach import Spans, spans_of, subset_of, true_of
from tests.assets.test_reach import CALENDARS, NAMES, REACHES
from tests.automation.test_conditions import launched
from tests.support.examples import SOAK, examples

START = datetime(2024, 1, 1)
DAYS = dg.DailyPartitionsDefinition(start_date=START, end_offset=1)
WEEKS = dg.WeeklyPartitionsDefinition(start_date="2024-01-07", end_offset=1)


async def ask_all(self: within_reach.AnyWithinReach, context: Any) -> Any:
    """``AnyWithinReach`` that looks at every partition of its inputs, whoever asks, one span at a time."""
    subset, children, own = context.get_empty_subset(), [], context.partitions_def
    for source in self.sources:
        everything = context.asset_graph_view.get_full_subset(key=source.key)
        child = await context.for_child_condition(self.operand, [None], everything).evaluate_async()
        children.append(child)
        for span in spans_of(child.true_subset):
            reached = source.reach.span_of(own, span.start, span.end)
            subset = subset if reached is None else subset.compute_union(subset_of(context, [reached]))
    return true_of(context, subset, child_results=children)


def walk_all(partitions_def: dg.TimeWindowPartitionsDefinition, spans: Spans) -> Iterator[Partition]:
    return (one for one in newest_first(partitions_def) if one.start is not None and one.start in spans)


def inputs_first(spine: dg.AssetKey, inputs: Any, models: Any, *, whole: bool, catch_up: int) -> Any:
    """``on_answerable_rows`` that looks at the inputs before it asks whether a build can answer."""
    unanswered = dg.AutomationCondition.missing().newly_true()
    pending = defaults._unread(inputs, [spine], unanswered) | NeverBegan()
    features = [source for source in inputs if source.key != spine]
    condition = pending & defaults._inputs_are_settled(inputs, whole=whole, may_have_gaps=features)
    for model in models:
        condition = condition & Answerable(model, catch_up)
    return condition


def slow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(within_reach.AnyWithinReach, "evaluate", ask_all)
    patch.setattr(partition_conditions, "newest_within", walk_all)


def system(code_version: str) -> tuple[dg.Definitions, list[dg.AssetKey]]:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def raw() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS, lookback="2d", code_version=code_version)
    def derived(raw: fti.Table) -> fti.Table:
        return raw

    view = fti.FeatureView(name="view", spine=raw, label=fti.Label(raw["y"]), features=[derived["x"]])
    split = fti.TimeSplit(validation="1d", test="2d")
    rows = fti.training_dataset(name="rows", view=view, partitions_def=WEEKS, split=split, catch_up=2)

    @fti.model(dataset=rows, task="binary")
    def net(data: fti.TrainingData) -> Any: ...

    answers = fti.batch_predictions(name="answers", model=net, partitions_def=DAYS)
    return fti.build_definitions([answers]), [one.key for one in (raw, derived, rows, net, answers)]


def tick(defs: dg.Definitions, keys: list[dg.AssetKey], instance: dg.DagsterInstance, at: datetime, cursor: Any) -> Any:
    with clock.at(at):
        return dg.evaluate_automation_conditions(
            defs, instance, dg.AssetSelection.assets(*keys), evaluation_time=at.replace(tzinfo=UTC), cursor=cursor
        )


RANGES = st.tuples(st.integers(0, 60), st.integers(1, 30))
STEPS = st.one_of(
    st.tuples(st.just("made"), st.integers(0, 4), RANGES, st.integers(1, 3), st.booleans()),
    st.tuples(st.just("made"), st.integers(0, 1), st.just((0, 80)), st.just(1), st.booleans()),
    st.tuples(st.just("passes"), st.sampled_from([1, 60, 12 * 60, 24 * 60, 8 * 24 * 60])),
    st.tuples(st.just("lost"), st.integers(0, 4)),
    st.tuples(st.just("restarts"), st.integers(0, 3)),
    st.tuples(st.just("new code")),
)


@settings(
    deadline=None,
    max_examples=examples(40) if SOAK else 2,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=st.lists(STEPS, min_size=4, max_size=10 if SOAK else 7))
def test_ticks_ask_for_what_a_look_at_every_partition_asks_for(steps: list[tuple[Any, ...]]) -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_asset, "on_answerable_rows", inputs_first)
        slow_systems = {code: system(code)[0] for code in "12"}
        patch.undo()
        systems = {code: system(code) for code in "12"}
        code, now, observed, cursors = "1", datetime(2024, 2, 9, 12, 5), 0, [(None, None)]
        for step in [*steps, ("passes", 1), ("passes", 1)]:
            defs, keys = systems[code]
            match step:
                case "made", number, (first, length), every, early:
                    observed += 1
                    calendar: Any = defs.resolve_asset_graph().get(keys[number]).partitions_def
                    with clock.at(now):
                        made = calendar.get_partition_keys(current_time=now.replace(tzinfo=UTC))
                    tags = {"dagster/data_version": str(observed), "dagster/data_version_is_user_provided": "true"}
                    tags |= {"fti/provisional": "true"} if early else {}
                    for partition in islice(made, first, first + length, every):
                        event = dg.AssetMaterialization(keys[number], partition=partition, tags=tags)
                        instance.report_runless_asset_event(event)
                case "passes", minutes:
                    now += timedelta(minutes=minutes)
                case "lost", number:
                    instance.wipe_assets([keys[number]])
                case "restarts", ago:  # with what it knew some ticks ago
                    cursors.append(cursors[max(0, len(cursors) - 1 - ago)])
                case ("new code",):
                    code = "2"
            defs, keys = systems[code]
            quick = tick(defs, keys, instance, now, cursors[-1][0])
            with pytest.MonkeyPatch.context() as patch:
                slow(patch)
                thorough = tick(slow_systems[code], keys, instance, now, cursors[-1][1])
            requests = {key: quick.get_requested_partitions(key) for key in keys}
            assert requests == {key: thorough.get_requested_partitions(key) for key in keys}
            cursors.append((quick.cursor, thorough.cursor))
            if observed % 2:
                launched(instance, requests)


DAYS_OF_SPANS = 400 if SOAK else 150
"""From 5 November on, so that clocks are set back and forward within them."""
LAST_DAY = "2025-06-03" if SOAK else "2024-04-20"
SPANS = st.lists(st.tuples(st.integers(0, DAYS_OF_SPANS), st.integers(1, 40), st.sampled_from([0, 7])), max_size=6)


def spans(drawn: list[tuple[int, int, int]]) -> list[tuple[datetime, datetime]]:
    """Spans of days, some of which begin and end where no window does."""
    return join_spans(
        (
            datetime(2023, 11, 5, off) + timedelta(days=first),
            datetime(2023, 11, 5, off) + timedelta(days=first + length),
        )
        for first, length, off in drawn
    )


def of(pairs: list[tuple[datetime, datetime]]) -> list[dg.TimeWindow]:
    return [dg.TimeWindow(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)) for start, end in pairs]


@cache
def newest(name: str) -> list[Partition]:
    """A calendar's partitions, the newest first, walked through once."""
    return list(newest_first(CALENDARS[name]))


@pytest.mark.soak
@settings(deadline=None, max_examples=examples(300))
@given(name=NAMES, drawn=SPANS)
def test_newest_within_spans_are_those_of_a_walk_through_all(name: str, drawn: list[tuple[int, int, int]]) -> None:
    calendar, within = CALENDARS[name], Spans()
    within._starts, within._ends = [start for start, _ in spans(drawn)], [end for _, end in spans(drawn)]
    with clock.at(LAST_DAY):
        walk = (one for one in newest(name) if one.start is not None and one.start in within)
        assert list(islice(newest_within(calendar, within), 200)) == list(islice(walk, 200))


@pytest.mark.soak
@settings(deadline=None, max_examples=examples(300))
@given(name=NAMES, back=st.sampled_from([*REACHES, None]), own=st.booleans(), read=SPANS, asking=SPANS)
def test_spans_near_readers_reach_them_as_all_spans_do(
    name: str, back: timedelta | None, own: bool, read: list[tuple[int, int, int]], asking: list[tuple[int, int, int]]
) -> None:
    calendar, reach = CALENDARS[name], Reach(back, own)
    # Readers are partitions, which end where their calendar says.
    keys_read = {key for span in of(spans(asking)) for key in calendar.get_partition_keys_in_time_window(span)}
    readers = of(join_spans(naive(calendar.time_window_for_partition_key(key)) for key in keys_read))

    def reached(of_spans: list[dg.TimeWindow]) -> set[str]:
        keys = set[str]()
        for span in of_spans:
            touched = reach.span_of(calendar, span.start, span.end)
            windows = [] if touched is None else calendar.get_partition_keys_in_time_window(touched)
            for key in windows:
                window = calendar.time_window_for_partition_key(key)
                start, end = naive(window)
                keys |= {key for first, last in map(naive, readers) if start < last and end > first and first <= start}
        return keys

    assert reached(reach.near(readers, of(spans(read)))) == reached(of(spans(read)))
