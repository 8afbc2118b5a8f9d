"""The best items of each key as a list: ranked as brute force ranks them, kept by a rerun, looked up online."""

import math
from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DeclarationError, PredictionError
from fti_assets.stores.duckdb.json_text import json_text
from tests.support.examples import examples
from tests.support.visits import BUYER, SORTER, run, stores_in

SCORES = st.sampled_from([0.0, -0.0, 0.5, 0.5, 1 / 3, -2.0, math.nan, math.inf])
ROWS = st.dictionaries(
    st.tuples(st.sampled_from("uvw"), st.sampled_from(["", "a", "b", "é'\""]), st.integers(-2, 2)), SCORES, max_size=40
)


@given(ROWS, st.integers(1, 5))
@settings(max_examples=examples(60), deadline=None)
def test_lists_are_those_of_brute_force(rows: dict[tuple[str, str, int], float], k: int) -> None:
    top = fti.TopK(k, by="listener")
    with duckdb.connect() as connection:
        connection.execute('CREATE TABLE scored (listener VARCHAR, item VARCHAR, "it\'s" BIGINT, answer DOUBLE)')
        if rows:
            connection.executemany("INSERT INTO scored VALUES (?, ?, ?, ?)", [[*key, rows[key]] for key in rows])
        results = connection.execute(
            f"SELECT listener, {top.sql('answer', ['item', 'it' + chr(39) + 's'])} FROM scored GROUP BY listener"
        ).fetchall()
    expected: dict[str, list[dict[str, Any]]] = {}
    for (listener, item, other), score in sorted(
        rows.items(), key=lambda row: (math.isnan(row[1]), 0.0 if math.isnan(row[1]) else -row[1], row[0][1:])
    ):
        expected.setdefault(listener, []).append({"item": item, "it's": other, "score": score})
    assert {listener: [shown(one) for one in items] for listener, items in results} == {
        listener: [shown(one) for one in items[:k]] for listener, items in expected.items()
    }


def test_json_of_a_map_reads_no_column_called_as_its_pairs() -> None:
    with duckdb.connect() as connection:
        text = json_text("best", "MAP(VARCHAR, DOUBLE)")
        rows = "SELECT MAP {'a': 1.5} AS best, {'key': 'b', 'value': 2.5} AS pair_0, 3 AS item_0"
        assert connection.execute(f"SELECT {text} FROM ({rows})").fetchall() == [('{"a":1.5}',)]


def shown(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "score": "nan" if math.isnan(item["score"]) else item["score"]}


WEEKS = dg.WeeklyPartitionsDefinition(start_date="2024-01-07", end_date="2024-02-04")
LISTENERS, TRACKS = range(6), range(20)


def candidates_of(week: str) -> pd.DataFrame:
    pairs = [(listener, track) for listener in LISTENERS for track in TRACKS if (listener + track) % 3]
    rows = pd.DataFrame(pairs, columns=["listener_id", "track_id"])
    return rows.assign(
        week=pd.Timestamp(week), affinity=np.sin(rows["listener_id"] * 7 + rows["track_id"] * 3).round(1)
    )


MORE = {"rows": pd.DataFrame()}


@fti.feature_group(keys=["listener_id", "track_id"], event_time="week", partitions_def=WEEKS)
def candidates(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.concat([candidates_of(context.partition_key), MORE["rows"]], ignore_index=True)


@fti.feature_group(keys=["listener_id", "track_id"], event_time="played_at", partitions_def=WEEKS)
def plays(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = candidates_of(context.partition_key)
    played_at, played = rows["week"] + pd.Timedelta(days=1), (rows["affinity"] > 0).astype(int)
    reaction = np.where(rows["affinity"] > 0.3, "likes", np.where(rows["affinity"] < -0.3, "skips", "hears"))
    return rows[["listener_id", "track_id"]].assign(played_at=played_at, played=played, reaction=reaction)


LIKING = fti.FeatureView(
    name="liking", spine=candidates, label=fti.Label(plays["played"], within="2d"), features=[candidates["affinity"]]
)


def trained(name: str) -> Any:
    rows = fti.training_dataset(name=f"{name}_rows", view=LIKING, split=fti.TimeSplit(validation="7d", test="7d"))

    @fti.model(name=name, dataset=rows, task="binary")
    def fit(data: fti.TrainingData) -> Any:
        return LogisticRegression(C=1.0 if name == "liker" else 0.01).fit(data.train.X, data.train.y)

    return fit


LIKER, OTHER = trained("liker"), trained("other")
PAIRS = fti.batch_predictions(name="pairs", model=[LIKER, OTHER], partitions_def=WEEKS)
WEEKLY = fti.batch_predictions(
    name="weekly",
    model=LIKER,
    partitions_def=WEEKS,
    top=fti.TopK(4, by="listener_id"),
    online=True,
    online_history="60d",
)
BOTH = fti.batch_predictions(
    name="weekly_of_both", model=[LIKER, OTHER], partitions_def=WEEKS, top=fti.TopK(2, by=["listener_id"])
)


REACTING = fti.FeatureView(
    name="reacting",
    spine=candidates,
    label=fti.Label(plays["reaction"], within="2d"),
    features=[candidates["affinity"]],
)


@fti.model(
    dataset=fti.training_dataset(name="reactions_seen", view=REACTING, split=fti.TimeSplit(validation="7d", test="7d")),
    task="multiclass",
)
def reactor(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y)


EITHER = fti.composite(name="either", models=[LIKER, OTHER])
BY_CLASS = fti.batch_predictions(
    name="by_class", model=reactor, partitions_def=WEEKS, top=fti.TopK(3, by="listener_id", of="skips"), online=True
)
BY_NAME = fti.batch_predictions(
    name="by_name", model=EITHER, partitions_def=WEEKS, top=fti.TopK(3, by="listener_id", of="other")
)
BY_NOTHING = fti.batch_predictions(
    name="by_nothing", model=reactor, partitions_def=WEEKS, top=fti.TopK(3, by="listener_id", of="loves")
)
PAIRS_OF_EITHER = fti.batch_predictions(name="pairs_of_either", model=EITHER, partitions_def=WEEKS)
REACTIONS = fti.batch_predictions(name="reactions", model=reactor, partitions_def=WEEKS)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[fti.Stores, dg.DagsterInstance]]:
    stores = stores_in(tmp_path_factory.mktemp("weekly"))
    with clock.at("2024-02-01"), dg.DagsterInstance.ephemeral() as instance:
        for week in WEEKS.get_partition_keys():
            run(candidates, plays, stores=stores, instance=instance, partition_key=week)
        run(LIKER.dataset, LIKER, OTHER.dataset, OTHER, stores=stores, instance=instance)
        yield stores, instance


def best(rows: pd.DataFrame, answer: str, k: int) -> dict[int, list[dict[str, Any]]]:
    """The oracle: all pairs sorted, the first of each listener."""
    ranked = rows.sort_values([answer, "track_id"], ascending=[False, True])
    return {
        int(listener): [
            {"track_id": row["track_id"], "score": row[answer]} for row in of_one.head(k).to_dict("records")
        ]
        for listener, of_one in ranked.groupby("listener_id")
    }


def lists_of(rows: pd.DataFrame, column: str) -> dict[int, list[dict[str, Any]]]:
    return dict(zip(rows["listener_id"].tolist(), map(list, rows[column]), strict=True))


def test_lists_are_the_best_of_all_answers_and_looked_up_online(home: tuple[fti.Stores, dg.DagsterInstance]) -> None:
    stores, instance = home
    (week, later) = WEEKS.get_partition_keys()[2:4]
    with clock.at("2024-01-22"):
        run(PAIRS, WEEKLY, BOTH, stores=stores, instance=instance, partition_key=week)
    pairs = fti.read(PAIRS, stores=stores)
    lists, both = fti.read(WEEKLY, stores=stores), fti.read(BOTH, stores=stores)
    assert list(lists.columns) == ["listener_id", "week", "top", "build", "predicted_at"]
    expected = best(pairs, "liker_probability", 4)
    assert lists_of(lists, "top") == expected
    assert len(expected) == len(LISTENERS)
    assert lists_of(both, "liker_top") == {key: items[:2] for key, items in expected.items()}
    assert lists_of(both, "other_top") == best(pairs, "other_probability", 2)
    online = fti.OnlineReader("weekly_v1", online=stores.online)
    results = online.read([*LISTENERS, 99], at="2024-01-25")
    assert results[-1] is None
    assert [row["top"] for row in results[:-1]] == [expected[listener] for listener in LISTENERS]

    before = lists.sort_values("listener_id").reset_index(drop=True)
    MORE["rows"] = pd.DataFrame(
        {"listener_id": [0, 50], "track_id": [500, 500], "week": pd.Timestamp(week), "affinity": [9.0, 9.0]}
    )
    with clock.at("2024-01-23"):
        run(candidates, stores=stores, instance=instance, partition_key=week)
        run(WEEKLY, stores=stores, instance=instance, partition_key=week)
    MORE["rows"] = pd.DataFrame()
    after = fti.read(WEEKLY, stores=stores).sort_values("listener_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(after[after["listener_id"] != 50], before)  # lists that were given stay
    assert [one["track_id"] for one in after["top"].iloc[-1]] == [500]
    with clock.at("2024-01-29"):
        run(WEEKLY, stores=stores, instance=instance, partition_key=later)
    assert online.read(50, at="2024-01-30")["week"] == pd.Timestamp(week)
    assert online.read(0, at="2024-01-30")["week"] == pd.Timestamp(later)


def test_lists_are_ranked_by_one_class_or_one_answer_of_a_composite(
    home: tuple[fti.Stores, dg.DagsterInstance],
) -> None:
    stores, instance = home
    week = WEEKS.get_partition_keys()[2]
    with clock.at("2024-02-01"):
        run(reactor.dataset, reactor, EITHER, stores=stores, instance=instance)
    with clock.at("2024-01-22"):
        run(REACTIONS, PAIRS_OF_EITHER, BY_CLASS, BY_NAME, stores=stores, instance=instance, partition_key=week)
        with pytest.raises(
            PredictionError, match="by_nothing_v1 ranks by 'loves', but build .* answers 'hears', 'likes'"
        ):
            run(BY_NOTHING, stores=stores, instance=instance, partition_key=week)
    answers = fti.read(REACTIONS, stores=stores)
    skips = answers.assign(skips=[dict(one)["skips"] for one in answers["probabilities"]])
    expected = best(skips, "skips", 3)
    assert lists_of(fti.read(BY_CLASS, stores=stores), "top") == expected
    assert fti.OnlineReader("by_class_v1", online=stores.online).read(2, at="2024-01-22")["top"] == expected[2]
    either = fti.read(PAIRS_OF_EITHER, stores=stores)
    other = either.assign(other=[dict(one)["other"] for one in either[PAIRS_OF_EITHER.answers[0].value]])
    assert lists_of(fti.read(BY_NAME, stores=stores), "top") == best(other, "other", 3)


def test_lists_of_what_cannot_be_ranked_are_refused_when_declared() -> None:
    for top, model, message in (
        (lambda: fti.TopK(0, by="x"), LIKER, "TopK has k=0: a list has 1 to 10,000 items"),
        (lambda: fti.TopK(3, by=[]), LIKER, "TopK has by="),
        (lambda: fti.TopK(3, by="track"), LIKER, "top is by 'track', but the keys of the spine are 'listener_id' or"),
        (lambda: fti.TopK(3, by="visit_id"), BUYER, "top is by every key of the spine, 'visit_id', which leaves no"),
        (lambda: fti.TopK(3, by="visit_id"), SORTER, "leaves no item"),
    ):
        with pytest.raises(DeclarationError, match=message):
            fti.batch_predictions(name="weekly", model=model, top=top())


def test_several_answers_are_ranked_by_a_name_alone() -> None:
    by_two = fti.FeatureView(
        name="by_two",
        spine=candidates,
        label=fti.Label(plays["played"], within="2d"),
        features=[candidates["affinity"]],
    )

    @fti.model(dataset=by_two, task="multiclass")
    def kinds(data: fti.TrainingData) -> Any: ...

    with pytest.raises(
        DeclarationError, match="top ranks by one number, but 'kinds' answers several; name one of them"
    ):
        fti.batch_predictions(name="weekly", model=kinds, top=fti.TopK(3, by="listener_id"))
    with pytest.raises(
        DeclarationError, match="top ranks by the answer 'likes' of several, but 'liker' answers one number"
    ):
        fti.batch_predictions(name="weekly", model=LIKER, top=fti.TopK(3, by="listener_id", of="likes"))
    with pytest.raises(DeclarationError, match="of is '', an empty text"):
        fti.TopK(3, by="listener_id", of="")
