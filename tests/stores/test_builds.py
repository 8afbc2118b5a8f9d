"""Builds beside each other, what was in production when, and whether the online store has what a build reads."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core import clock
from fti_assets.core.manifest import (
    NUMBERS,
    Column,
    DatasetRecord,
    GateVerdict,
    GraphInput,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    ModelManifest,
    OnDemandCall,
)
from fti_assets.core.records import to_json
from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.core.times import instant
from fti_assets.errors import StoreError
from fti_assets.stores.models.aliases import AliasChange, Aliases, with_rollout, without_arm_of
from fti_assets.stores.models.builds.differences import differences
from fti_assets.stores.models.builds.facts import SECTIONS, facts_of
from fti_assets.stores.models.builds.past import production_at
from fti_assets.stores.models.builds.served_groups import check_groups_served
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import OnlineStore, online_store
from tests.stores.online_stores import load
from tests.support.examples import examples
from tests.support.records import model_manifest, view_record


def weather(version: int = 1, **more: object) -> JoinedGroup:
    fields = {"serving_delay_us": 1_000_000} | more
    return JoinedGroup(
        "weather",
        version,
        (JoinedKey("origin", "airport", "text"),),
        (JoinedColumn("temp", "temp_f", "number"),),
        **fields,
    )  # type: ignore[arg-type]


def of_view(*joins: JoinedGroup, call_version: int = 1, **more: object) -> ModelManifest:
    call = OnDemandCall(
        "calendar", call_version, "app", "calendar", "a" * 64, ("at",), (Column("hour", "integer"),), (), "b" * 64
    )
    view = view_record(
        request=(Column("origin", "text"), Column("at", "timestamp")),
        joins=joins,
        on_demand=(call,),
        features=(Column("temp", "number"), Column("hour", "integer"), Column("origin", "text")),
    )
    inputs = (GraphInput(NUMBERS, "float32", ("temp", "hour")), GraphInput("text.origin", "string", ("origin",)))
    return model_manifest(b"", view=view, inputs=inputs, **more)


BEFORE = of_view(
    weather(),
    dataset=DatasetRecord("d", 1, "2013-05-01", "hash1", {"train": 1000, "test": 20}, True, upstream={"features.weather_v1": "w1"}),
    encoders={"temp": {"kind": "standardize", "mean": 1.5, "fill": None}, "origin": {"kind": "one_hot", "categories": ["JFK", "LGA"]}},
    metrics={"log_loss": 0.5, "roc_auc": 0.75},
    gates=(GateVerdict("beats", True, "0.5 is better"),),
    packages={"numpy": "2.3", "torch": "2.8"},
    code_version="c1",
)  # fmt: skip
AFTER = replace(
    of_view(weather(2, ttl_us=3_600_000_000, serving_delay_us=0), call_version=2),
    dataset=DatasetRecord("d", 1, "2013-06-01", "hash2", {"train": 2000, "test": 20}, True, upstream={"features.weather_v2": "w2"}),
    encoders={"temp": {"kind": "standardize", "mean": 1.75, "fill": 0.0}, "origin": {"kind": "one_hot", "categories": ["LGA", "EWR"]}},
    metrics={"log_loss": 0.4, "brier": 0.1},
    gates=(GateVerdict("beats", True, "0.4 is better"),),
    packages={"numpy": "2.4", "torch": "2.8"},
    code_version="c2",
    cutoff="2013-06-01T00:00:00",
    snapshot=2,
)  # fmt: skip


def test_differences_are_told_by_section() -> None:
    texts = [(one.section, str(one)) for one in differences(BEFORE, AFTER)]
    assert texts == [
        ("data", "partition: 2013-05-01 -> 2013-06-01"),
        ("data", "cutoff: 2013-05-01T00:00:00 -> 2013-06-01T00:00:00"),
        ("data", "snapshot: 1 -> 2"),
        ("data", "content: hash1 -> hash2"),
        ("data", "content of features.weather_v1: removed, w1"),
        ("data", "rows in train: 1,000 -> 2,000"),
        ("data", "content of features.weather_v2: added, w2"),
        ("code", "code version: c1 -> c2"),
        ("code", "on demand calendar: v1, bbbbbbbbbbbb of app.calendar -> v2, bbbbbbbbbbbb of app.calendar"),
        ("features", "group weather: v1 by origin = airport, serving delay 1 s -> v2 by origin = airport, ttl 3600 s"),
        ("features", "feature temp: number from weather_v1.temp_f -> number from weather_v2.temp_f"),
        ("encoders", "temp.mean: 1.5 -> 1.75 (+0.25)"),
        ("encoders", "temp.fill: none -> 0"),
        ("encoders", "origin.categories: added 'EWR'; removed 'JFK'"),
        ("metrics", "test log_loss: 0.5 -> 0.4 (-0.1)"),
        ("metrics", "test roc_auc: removed, 0.75"),
        ("metrics", "test brier: added, 0.1"),
        ("gates", "beats: passed: 0.5 is better -> passed: 0.4 is better"),
        ("packages", "numpy: 2.3 -> 2.4"),
    ]


def test_a_build_does_not_differ_from_itself_and_swapped_sides_swap_what_is_told() -> None:
    assert differences(BEFORE, BEFORE) == []
    present = {(one.section, one.name): (one.first, one.second) for one in differences(BEFORE, AFTER)}
    back = {(one.section, one.name): (one.second, one.first) for one in differences(AFTER, BEFORE)}
    assert present == back
    assert list(facts_of(BEFORE)) == list(SECTIONS)


CHAMPIONS = [f"v1/20130101T000000Z-0000000{number}" for number in range(5)]


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(CHAMPIONS)), max_size=6), st.integers(-1, 21))
@settings(max_examples=examples(60))
def test_production_is_what_the_last_change_until_then_made(changes: list[tuple[int, str]], hour: int) -> None:
    """Against a walk through the hours."""
    changes = sorted(changes, key=lambda change: change[0])
    history = tuple(AliasChange(f"2013-11-07T{at:02d}:00:00", champion, None, f"at {at}") for at, champion in changes)
    moment = instant("2013-11-07") if hour < 0 else instant(f"2013-11-07T{hour:02d}:00:00")
    if hour < 0:
        moment = instant("2013-11-06")
    now = None
    for at, champion in changes:
        if at <= hour:
            now = champion
    later = [at for at, _ in changes if at > hour]
    production = production_at(Aliases("m", history=history), moment)
    assert (production.change.champion if production.change else None) == now
    assert production.until == (f"2013-11-07T{later[0]:02d}:00:00" if later else None)


def test_arms_were_in_production_from_start_of_their_rollout_to_its_end() -> None:
    first, second = CHAMPIONS[:2]
    rollout = Rollout("ab", (Arm("a", first, 0.1), Arm("b", second, 0.2)), ("id",), "s", "2013-11-01T00:00:00", "")
    with clock.at("2013-11-01"):
        aliases = with_rollout(Aliases("m"), rollout, "started", "")
    with clock.at("2013-11-02"):
        aliases = without_arm_of(replace(aliases, champion=first), first, "")  # the other arm goes on
    with clock.at("2013-11-03"):
        stopped = with_rollout(aliases, None, "stopped", "")
        promoted = with_rollout(aliases, None, "promoted b", "")
        became = without_arm_of(replace(aliases, champion=second), second, "")
    for ended in (stopped, promoted, became):
        on = {day: production_at(ended, instant(f"2013-{day}")) for day in ("10-31", "11-01", "11-02", "11-03")}
        assert {day: dict(one.arms) for day, one in on.items()} == {
            "10-31": {}, "11-01": {"a": first, "b": second}, "11-02": {"b": second}, "11-03": {},
        }  # fmt: skip
        assert on["11-01"].shares == {"a": 0.1, "b": 0.2}


@pytest.fixture
def online(tmp_path: Path) -> OnlineStore:
    return online_store(tmp_path / "online")


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    """Builds whose manifests alone are read: of version 1 and 2 of a group, and of another group."""
    store = ModelStore(tmp_path / "models")
    for number, join in enumerate((weather(), weather(2), replace(weather(), group="wind")), start=1):
        build = of_view(join, build=f"20130501T000000Z-0000000{number}")
        folder = store.root / "delay_net" / build.reference
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(to_json(build))
    return store


ONE, TWO, WIND = (f"v1/20130501T000000Z-0000000{number}" for number in (1, 2, 3))


def test_a_build_of_a_group_version_that_is_served_no_longer_is_refused(
    models: ModelStore, online: OnlineStore
) -> None:
    untold = [check_groups_served(models, "delay_net", build, online) for build in (ONE, TWO, WIND)]
    assert untold == [("weather_v1",), ("weather_v2",), ("wind_v1",)]  # nothing is online: batches alone
    load(online, [], "weather_v2", snapshot=1)
    assert check_groups_served(models, "delay_net", TWO, online) == ()
    assert check_groups_served(models, "delay_net", WIND, online) == (
        "wind_v1",
    )  # of which nobody knows that it was ever online
    with pytest.raises(
        StoreError,
        match=r"cannot be champion, nothing was changed: it reads 'weather_v1', .* no longer serves: it has 'weather_v2'",
    ):
        check_groups_served(models, "delay_net", ONE, online)
    load(online, [], "weather_v1", snapshot=1)
    check_groups_served(models, "delay_net", ONE, online)


def test_a_build_is_refused_where_champion_answers_and_it_could_not(models: ModelStore, online: OnlineStore) -> None:
    load(online, [], "weather_v1", snapshot=1)
    models.change_aliases("delay_net", lambda aliases: replace(aliases, champion=TWO))
    check_groups_served(models, "delay_net", WIND, online)  # the champion cannot answer either
    models.change_aliases("delay_net", lambda aliases: replace(aliases, champion=ONE))
    with pytest.raises(StoreError, match=r"it reads 'wind_v1', which .* it has 'weather_v1'"):
        check_groups_served(models, "delay_net", WIND, online)
    models.change_aliases("delay_net", lambda aliases: replace(aliases, champion="v1/20130501T000000Z-0000000f"))
    check_groups_served(models, "delay_net", WIND, online)  # it is lost, and says nothing
