"""Reviews: a champion that does worse on fresh labels than the one before it is proposed to be rolled back, or is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import fti_assets as fti
from fti_assets.alerts.builds import findings_of_builds
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.names import PartitionRecord
from fti_assets.errors import AliasConflictError, DeclarationError
from fti_assets.reviews import run as review_run
from fti_assets.reviews.asset import review_of
from fti_assets.reviews.fresh_rows import answers_to, fresh_rows
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.proposals import propose_rollback
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
A_DAY = 200


def rows_of(day: str) -> pd.DataFrame:
    draws = np.random.Generator(np.random.PCG64(int(day.replace("-", ""))))
    x = draws.normal(size=A_DAY)
    y = (draws.random(A_DAY) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
    at = pd.Timestamp(day) + pd.to_timedelta(np.arange(A_DAY) * 7, unit="min")
    return pd.DataFrame(
        {"id": [f"{day}/{n:03}" for n in range(A_DAY)], "at": at.astype("datetime64[us]"), "x": x, "y": y}
    )


@dataclass
class World:
    """A small system on files, whose model may learn nonsense."""

    folder: Path
    instance: dg.DagsterInstance
    nonsense: bool = False

    def __post_init__(self) -> None:
        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return pd.concat([rows_of(day) for day in context.partition_keys])[["id", "at", "x"]]

        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return pd.concat([rows_of(day) for day in context.partition_keys])[["id", "at", "y"]]

        label = fti.Label(outcomes["y"], maturity="1d")
        view = fti.FeatureView(name="view", spine=visits, label=label, features=[visits["x"]])
        split = fti.TimeSplit(validation="1d", test="2d")
        rows = fti.training_dataset(name="rows", view=view, partitions_def=DAYS, split=split)

        @fti.model(
            dataset=rows,
            task="binary",
            rollback="propose",
            importance=False,
            evaluate=fti.Evaluation(metrics=["log_loss"], confidence=None),
        )
        def net(data: fti.TrainingData) -> Any:
            y = 1 - data.train.y if self.nonsense else data.train.y
            return LogisticRegression().fit(data.train.X, y)

        self.groups, self.rows, self.net = [visits, outcomes], rows, net
        self.stores = fti.Stores(**{name: str(self.folder / name) for name in ("lake", "models", "online")})
        self.store = self.stores.model_store()
        self.defs = fti.build_definitions([net], resources={"fti": self.stores})

    def run(self, moment: str, assets: list[Any], **options: Any) -> dg.ExecuteInProcessResult:
        with clock.at(moment):
            return dg.materialize(
                [one.assets_def for one in assets], instance=self.instance, resources={"fti": self.stores}, **options
            )

    def load(self, moment: str, first: str, last: str) -> None:
        self.run(moment, self.groups, tags=range_tags(first, last))

    def build(self, moment: str, cutoff: str) -> str:
        self.run(moment, [self.rows, self.net], partition_key=cutoff)
        return str(self.store.aliases("net").champion)

    def review(self, moment: str, model: Any = None) -> tuple[str, bool]:
        """What comes of a review, and whether its check passes."""
        review = review_of(model or self.net)
        result = self.run(moment, [review])
        [event] = result.asset_materializations_for_node(review.asset_name)
        [check] = result.get_asset_check_evaluations()
        return str(event.metadata["outcome"].value), check.passed


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path_factory.mktemp("world"), instance)


def test_review_comes_with_its_model_and_runs_beside_predictions(world: World) -> None:
    [sensor] = [one for one in world.defs.sensors or () if one.name == "net_inference"]
    graph = world.defs.resolve_asset_graph()
    assert sensor.asset_selection is not None  # type: ignore[union-attr]
    selected = sensor.asset_selection.resolve(graph)  # type: ignore[union-attr]
    assert selected == {dg.AssetKey("net_review_v1")}


def test_a_worse_champion_is_rolled_back_on_evidence(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another, since each step rests on the ones before."""
    assert world.review("2024-01-01T00:00")[0] == "model 'net' has no champion yet"
    world.load("2024-01-09T01:00", "2024-01-01", "2024-01-08")
    first = world.build("2024-01-09T02:00", "2024-01-09")
    assert world.review("2024-01-09T03:00")[0].startswith("there is nothing to go back to")
    world.load("2024-01-11T01:00", "2024-01-09", "2024-01-10")
    world.nonsense = True
    second = world.build("2024-01-11T02:00", "2024-01-11")
    assert second != first
    world.load("2024-01-13T01:00", "2024-01-11", "2024-01-12")
    outcome, passed = world.review("2024-01-13T01:00")
    assert passed
    assert "have come since 2024-01-11 00:00:00" in outcome
    assert "the first look is at 500" in outcome
    world.load("2024-01-15T01:00", "2024-01-13", "2024-01-14")

    requests = list[int]()

    def counting(rows: Any, *others: Any) -> Any:
        answers, features = answers_to(rows, *others)
        requests.append(len(answers.y))
        return answers, features

    with monkeypatch.context() as patch:
        patch.setattr(review_run, "answers_to", counting)
        outcome, passed = world.review("2024-01-15T02:00")
    assert requests == [500, 500], "of the rows that have come, those of the look alone"
    assert outcome == f"a rollback to {first} is proposed: fti rollback net --to {first} --reason WHY"
    assert not passed
    proposal = world.store.aliases("net").proposal
    assert proposal is not None
    assert (proposal.champion, proposal.to, proposal.at) == (second, first, "2024-01-15T02:00:00")
    frame = pd.concat([rows_of(f"2024-01-{day}") for day in (11, 12, 13)]).sort_values(["at", "id"])[:500]
    for reference, value in [(second, proposal.evidence.value), (first, proposal.evidence.previous_value)]:
        _, graph = load_build(world.store, "net", reference)
        scores = graph.run({"x": frame["x"].to_numpy(dtype=np.float64)})["probability"].astype(np.float64)
        assert value == pytest.approx(log_loss(frame["y"], scores), rel=1e-6)
    page = world.instance.fetch_observations(world.net.key, limit=1).records[0].event_log_entry.asset_observation
    assert page is not None
    assert page.partition == "2024-01-11"
    assert f"A rollback of {second} to {first} is proposed: log_loss" in (page.description or "")

    [cause] = findings_of_builds(world.store, ["net"]).causes
    assert cause.title == f"Model net: a rollback from {second} to {first} is proposed"
    assert main(["models", "show", "net", "--models", str(world.store.root)]) == 0
    output = capsys.readouterr().out
    assert f"a rollback to {first} is proposed since 2024-01-15T02:00:00: {proposal.evidence.text}" in output
    assert main(["models", "net", "--models", str(world.store.root)]) == 0
    assert "rollback proposed" in capsys.readouterr().out

    world.load("2024-01-16T01:00", "2024-01-15", "2024-01-15")
    world.review("2024-01-16T02:00")
    again = world.store.aliases("net").proposal
    assert again is not None
    assert (again.at, again.evidence) == (proposal.at, proposal.evidence), "later rows change nothing of a look"

    other = dataclasses.replace(proposal.evidence, champion=first)
    with pytest.raises(AliasConflictError, match="which was judged: nothing was changed"):
        propose_rollback(world.store, "net", other)
    with pytest.raises(AliasConflictError, match="which was judged: nothing was changed"):
        world.store.roll_back("net", reason="stale", evidence=other)

    automatic = dataclasses.replace(world.net, rollback="automatic")
    outcome, passed = world.review("2024-01-16T03:00", automatic)
    assert outcome == f"rolled back to {first}"
    assert not passed
    aliases = world.store.aliases("net")
    assert (aliases.champion, aliases.rolled_back, aliases.proposal) == (first, (second,), None)
    assert aliases.history[-1].fresh == proposal.evidence
    assert aliases.history[-1].author.startswith("run ")
    assert world.review("2024-01-16T04:00")[0].startswith("there is nothing to go back to")


def test_a_person_who_follows_a_proposal_keeps_its_evidence(world: World) -> None:
    second = world.store.aliases("net").rolled_back[0]
    first = str(world.store.aliases("net").champion)
    evidence = world.store.aliases("net").history[-1].fresh
    assert evidence is not None
    world.store.promote("net", second, expected=first, reason="once more")
    propose_rollback(world.store, "net", evidence)
    assert world.store.roll_back("net", reason="so it is").history[-1].fresh == evidence
    world.store.promote("net", second, expected=first, reason="once more")
    propose_rollback(world.store, "net", evidence)
    world.nonsense = False
    third = world.build("2024-01-16T05:00", "2024-01-16")
    assert world.store.aliases("net").champion == third
    assert world.store.aliases("net").proposal is None, "a newer champion ends it"


def test_what_a_person_could_see_undoes_no_decision(world: World) -> None:
    """Rows that would roll a champion back say nothing against who saw them and made it champion; what comes later may."""
    champion = str(world.store.aliases("net").champion)
    second = next(one.reference for one in world.store.builds("net") if one.cutoff.startswith("2024-01-11"))
    automatic = dataclasses.replace(world.net, rollback="automatic")
    world.load("2024-01-20T01:00", "2024-01-16", "2024-01-19")
    with clock.at("2024-01-20T02:00"):
        world.store.promote("net", second, expected=champion, reason="those labels are wrong")
    outcome, passed = world.review("2024-01-20T03:00", automatic)
    assert passed
    assert outcome.startswith("8 rows with mature labels have come since 2024-01-19 02:00:00, ")
    assert "whose labels were not there when somebody made it champion" in outcome
    world.load("2024-01-23T01:00", "2024-01-20", "2024-01-22")
    outcome, passed = world.review("2024-01-23T02:00", automatic)
    assert (outcome, passed) == (f"rolled back to {champion}", False)
    fresh = world.store.aliases("net").history[-1].fresh
    assert fresh is not None
    assert fresh.since == "2024-01-19T02:06:00"


def test_rows_on_which_a_champion_held_are_judged_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks double, so most runs have no further rows; a label that was corrected among those of the look is judged again."""
    asked = list[int]()

    def counting(rows: Any, *others: Any) -> Any:
        asked.append(len(rows.times))
        return answers_to(rows, *others)

    monkeypatch.setattr(review_run, "answers_to", counting)
    first = world.build("2024-01-23T03:00", "2024-01-23")
    world.load("2024-01-27T01:00", "2024-01-23", "2024-01-26")
    held = world.review("2024-01-27T02:00")
    assert held == ("the champion holds", True)
    assert world.store.aliases("net").champion == first
    assert asked == [500, 500]
    facts = world.instance.get_latest_materialization_event(review_of(world.net).key)
    assert world.review("2024-01-27T03:00") == held
    again = world.instance.get_latest_materialization_event(review_of(world.net).key)
    assert facts is not None and again is not None  # noqa: PT018 - of either there is one
    metadata = [one.asset_materialization.metadata for one in (facts, again) if one.asset_materialization]
    assert metadata[0] == metadata[1]
    assert asked == [500, 500], "nothing is asked again"
    honest = rows_of
    monkeypatch.setitem(globals(), "rows_of", lambda day: honest(day).assign(y=lambda rows: 1 - rows["y"]))
    world.load("2024-01-27T04:00", "2024-01-23", "2024-01-23")
    world.review("2024-01-27T05:00")
    assert asked == [500, 500, 500, 500], "labels of the look were corrected"


def test_an_outage_of_labels_is_no_evidence() -> None:
    """Days on which nobody loaded what happened are no days on which nothing did."""

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def seen() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def happened() -> pd.DataFrame: ...

    label = fti.Label(happened["y"], maturity="1d", missing=False)
    view = fti.FeatureView(name="view", spine=seen, label=label, features=[seen["x"]])

    @fti.model(dataset=view, task="binary")
    def net(data: fti.TrainingData) -> Any: ...

    everything = pd.concat([rows_of(f"2024-01-0{day}") for day in range(1, 7)], ignore_index=True)
    stored = {seen.table: everything, happened.table: everything[everything["y"] == 1][:150]}
    run_at = datetime(2024, 1, 7)
    records = {f"2024-01-0{day}": PartitionRecord("", "", 0, run_at, run_at, "", "{}") for day in (1, 2, 3, 6)}
    with duckdb.connect() as connection:
        lake: Any = SimpleNamespace(
            connection=connection,
            snapshot=lambda: 1,
            column_types=lambda table: {"id": "text", "at": "timestamp", "x": "number", "y": "integer"},
            rows=lambda table, **_: connection.from_df(stored[table]),
            ledger=lambda table, **_: records,
        )
        rows = fresh_rows(lake, net, since=datetime(2024, 1, 1), now=datetime(2024, 1, 7), most=10_000)
        days = pd.Series(rows.times).dt.strftime("%d").value_counts().to_dict()
    # All but the first of the 3rd are mature within the 4th only, which is not there.
    assert days == {"01": A_DAY, "02": A_DAY, "03": 1, "06": 1}
    assert rows.labels.sum() == 150


@pytest.mark.parametrize(
    ("rollback", "event_time", "message"),
    [("later", "at", "it is 'propose' or 'automatic'"), ("propose", None, "has no event time, so no row comes after")],
)
def test_impossible_rollbacks_are_refused_at_load(rollback: Any, event_time: str | None, message: str) -> None:
    @fti.feature_group(keys=["id"], event_time=event_time)
    def seen() -> pd.DataFrame: ...

    view = fti.FeatureView(name="view", spine=seen, label=fti.Label(seen["y"]), features=[seen["x"]])
    with pytest.raises(DeclarationError, match=message):

        @fti.model(dataset=view, task="binary", rollback=rollback)
        def net(data: fti.TrainingData) -> Any: ...
