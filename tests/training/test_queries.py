"""Queries of a dataset: no split divides one, each part has them in order, and trainers get whole ones."""

from collections import Counter
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.errors import DataError, DeclarationError, ModelError
from fti_assets.training.datasets.queries import OF_DIVIDED, QUERY, numbered
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.judging.importance import sampled_queries
from fti_assets.training.models.data import TrainingData
from fti_assets.training.trainer.parts.batches import QueryBatches
from tests.support.examples import examples
from tests.training.test_dataset_rows import connection, declared, made, row, spine

__all__ = ["connection"]

LABEL = fti.Label(spine["y"], maturity="2h")


def part_of(hours: float, cutoff: float) -> str:
    """As the splits page says: the parts count back from the cutoff less the maturity, with a maturity between them."""
    age = cutoff - hours
    if age <= 0 or age > 17:
        return "cut off"
    if age < 2:
        return "immature"
    if age <= 5:
        return "test"
    return "validation" if 7 < age <= 10 else "train" if age > 12 else "between splits"


@settings(max_examples=examples(45), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 23), st.booleans()), min_size=1, max_size=30))
def test_a_query_is_in_one_part_whole_or_left_out(connection: duckdb.DuckDBPyConnection, given_rows: Any) -> None:
    cutoff, always = 20.25, [row(100, 4, k="early"), row(101, 4, k="early")]
    late = len(given_rows) % 3 == 0  # a row that was not known by the cutoff
    rows = [row(102, 4, k="q0", known=30)] * late
    rows += [row(id, t, k=f"q{k}", y=1.0 if has_label else None) for id, (k, t, has_label) in enumerate(given_rows)]
    dataset = declared(LABEL, query="k", window="17h", split=fti.TimeSplit(validation="3h", test="3h"))
    result, by_id = made(connection, dataset, {spine: rows + always}, cutoff)
    parts = {(k, part_of(t, cutoff)) for k, t, _ in given_rows}
    parts |= {(0, "cut off")} if late else set()
    divided = {k for k, times in Counter(k for k, _ in parts).items() if times > 1}
    wanted = {id: part_of(t, cutoff) for id, (k, t, y) in enumerate(given_rows) if y and k not in divided}
    wanted = {id: part for id, part in wanted.items() if part in SPLITS} | {100: "train", 101: "train"}
    assert {id: one["split"] for id, one in by_id.items()} == wanted
    mature = [y and k in divided and part_of(t, cutoff) not in ("immature", "cut off") for k, t, y in given_rows]
    assert result.left_out[OF_DIVIDED] == sum(mature)
    of_parts = {(part, k) for id, (k, _, _) in enumerate(given_rows) if (part := wanted.get(id))} | {("train", "early")}
    assert result.queries == {part: sum(part == one for one, _ in of_parts) for part in SPLITS}
    [verdict] = [one for one in result.verdicts if one.rule.name == "queries_undivided"]
    assert (verdict.failures, bool(verdict.problem)) == (sum(mature), any(mature))


def test_entities_of_a_group_split_that_hold_queries_divide_none(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(number, number, k=f"shop {number % 9}") for number in range(200)]
    label = fti.Label(spine["y"])
    by_query = made(connection, declared(label, query="k", split=fti.GroupSplit(by="k")), {spine: rows}, 900)
    plain = made(connection, declared(label, split=fti.GroupSplit(by="k")), {spine: rows}, 900)
    assert {id: one["split"] for id, one in by_query[1].items()} == {id: one["split"] for id, one in plain[1].items()}
    assert by_query[0].left_out[OF_DIVIDED] == 0


def test_a_split_that_divides_every_query_says_what_to_do(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(number, number, k="all") for number in range(30)]
    with pytest.raises(DataError, match=r"30 of divided queries; .*write split=fti.GroupSplit\(by='k'\)"):
        made(connection, declared(fti.Label(spine["y"]), query="k"), {spine: rows}, 30)
    with pytest.raises(DataError, match="has 1 row without 'k'"):
        made(connection, declared(LABEL, query="k"), {spine: [row(1, 0, k=None), row(2, 0)]}, 30)
    with pytest.raises(DataError, match="has queries by 'session', which its spine spine_v1 does not have"):
        made(connection, declared(LABEL, query="session"), {spine: [row(1, 0)]}, 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "y"}, "has queries by its label 'y'"),
        ({"query": []}, r"has query=\[\]: give the spine's column that names a list"),
        ({"query": ["k", "k"]}, "each once"),
        ({"query": "split"}, "the column 'split' is the dataset's own"),
        ({"query": "k", "split": fti.HashSplit()}, r"by the hash of 'id', in which rows .*=fti.GroupSplit\(by='k'\)"),
        ({"query": "k", "sample": fti.Sample(rows=0.5)}, "has both query= and sample="),
    ],
)
def test_impossible_queries_are_refused_at_load(options: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declared(LABEL, **options)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_queries_are_numbered_by_their_first_time(
    connection: duckdb.DuckDBPyConnection, rows: list[tuple[int, int]]
) -> None:
    values = f"(SELECT unnest({[q for q, _ in rows]}) AS q, unnest({[moment for _, moment in rows]}) AS moment)"
    result = connection.sql(numbered(values, ["q"], "moment"))
    by_name = connection.sql(numbered(values, ["q"], None)).fetchall()
    assert result.columns == ["q", "moment", QUERY]
    began = {q: min(moment for other, moment in rows if other == q) for q, _ in rows}
    order = sorted(began, key=lambda q: (began[q], q))
    assert sorted(result.fetchall()) == sorted((q, moment, order.index(q) + 1) for q, moment in rows)
    assert sorted(by_name) == sorted((q, moment, sorted(began).index(q) + 1) for q, moment in rows)


FEATURES = [Column("price", "number")]


def training_data(sizes: Any, task: str = "ranking") -> TrainingData:
    queries = np.repeat(np.arange(len(sizes)) * 3 + 1, sizes)
    rng = np.random.default_rng(0)
    columns = {"price": rng.normal(size=len(queries))}
    labels = rng.integers(0, 3, len(queries)).astype(float)
    of_parts = dict.fromkeys(SPLITS, columns)
    return TrainingData(
        FEATURES,
        fit_encoders(FEATURES, {}, columns),
        of_parts,
        dict.fromkeys(SPLITS, labels),
        task=task,  # type: ignore[arg-type]
        queries=dict.fromkeys(SPLITS, queries),
    )


def test_groups_and_qid_are_in_the_order_of_the_rows() -> None:
    data = training_data([2, 1, 4])
    assert data.train.groups.tolist() == [2, 1, 4]
    assert data.train.qid.tolist() == [0, 0, 1, 2, 2, 2, 2]
    assert data.copy().train.qid.tolist() == data.train.qid.tolist()
    assert training_data([2, 1], "regression").train.groups.tolist() == [2, 1]


@settings(max_examples=examples(180), deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(1, 12), st.integers(0, 3))
def test_batches_hold_whole_queries_each_once(sizes: list[int], batch_size: int, seed: int) -> None:
    qid = np.repeat(np.arange(len(sizes)), sizes)
    batches = QueryBatches(qid, batch_size, seed)
    epochs = [[batch.numpy() for batch in batches] for _ in range(2)]
    for epoch in epochs:
        assert len(epoch) == len(batches)
        assert sorted(np.concatenate(epoch).tolist()) == list(range(len(qid)))
        of_batches = [set(qid[batch].tolist()) for batch in epoch]
        assert sum(map(len, of_batches)) == len(sizes), "no query is in two batches"
    again = [batch.tolist() for batch in QueryBatches(qid, batch_size, seed)]
    assert again == [batch.tolist() for batch in epochs[0]]
    in_order = np.concatenate([batch.numpy() for batch in QueryBatches(qid, batch_size, None)])
    assert in_order.tolist() == list(range(len(qid)))


def test_loaders_give_queries_and_the_loss_is_that_of_listnet() -> None:
    data = training_data([3, 2, 5])
    train, _ = data.loaders(batch_size=4)
    x, y, qid = next(iter(train))
    assert len(x["dense"]) == len(y) == len(qid)
    scores = np.random.default_rng(1).normal(size=10) * 5
    y, qid = data.train.y, data.train.qid

    def softmax(values: np.ndarray) -> Any:
        return np.exp(values) / np.exp(values).sum()

    wanted = np.mean([-(softmax(y[qid == q]) * np.log(softmax(scores[qid == q]))).sum() for q in range(3)])
    output = torch.tensor(scores, requires_grad=True)
    loss = data.loss(output, torch.from_numpy(y), torch.from_numpy(qid) + 7)
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    loss.backward()
    of_first = softmax(scores[:3]) - softmax(y[:3])
    assert output.grad is not None
    assert output.grad[:3].numpy() * 3 == pytest.approx(of_first, abs=1e-5)
    with pytest.raises(ModelError, match="needs the third of a batch, each row's query"):
        data.loss(output, torch.from_numpy(y))


def test_what_would_divide_queries_is_refused_in_training() -> None:
    data = training_data([3, 2])
    with pytest.raises(ModelError, match="a stream shuffles rows"):
        data.train.stream(2)
    with pytest.raises(ModelError, match="a stream shuffles rows"):
        data.loaders(2, stream=True)
    with pytest.raises(ModelError, match="train a ranking model with devices=1"):
        data.fit(torch.nn.Linear(1, 1), devices=2)
    with pytest.raises(DataError, match="put the rows of a query together"):
        TrainingData(
            FEATURES,
            fit_encoders(FEATURES, {}, {"price": np.ones(2)}),
            {part: {"price": np.ones(2)} for part in SPLITS},
            {part: np.ones(2) for part in SPLITS},
            task="ranking",
            queries={part: np.array([2, 1]) for part in SPLITS},
        )


def test_labels_below_zero_cannot_be_ranked_by() -> None:
    labels = {part: np.array([1.0, -1.0]) for part in SPLITS}
    columns = {part: {"price": np.ones(2)} for part in SPLITS}
    with pytest.raises(DataError, match=r"1 labels that are not finite numbers from 0 on, as ranking needs: -1.0"):
        TrainingData(FEATURES, fit_encoders(FEATURES, {}, columns["train"]), columns, labels, task="ranking")
    data = TrainingData(
        FEATURES, fit_encoders(FEATURES, {}, columns["train"]), columns, {p: np.ones(2) for p in SPLITS}, task="ranking"
    )
    with pytest.raises(ModelError, match=r"say what names the list that a row is in"):
        _ = data.train.groups


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 60))
def test_importance_takes_whole_queries(sizes: list[int], most: int) -> None:
    qid = np.repeat(np.arange(len(sizes)), sizes)
    rows = sampled_queries(qid, most)
    assert len(rows) <= max(most, max(sizes))
    assert len(rows)
    assert np.bincount(qid[rows])[np.unique(qid[rows])].tolist() == [sizes[q] for q in np.unique(qid[rows])]
