"""Streams: the rows of the part, each once an epoch, in an order that the seed fixes, whatever the blocks and batches."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.errors import ModelError, StoreError
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.kinds.categories import Embedding, Hashing, OneHot, Ordinal
from fti_assets.training.encoders.kinds.targets import Target
from fti_assets.training.models.data import TrainingData, train_target
from fti_assets.training.trainer.fits.progress import Progress
from fti_assets.training.trainer.parts import rows as stored_rows
from fti_assets.training.trainer.parts.batches import Share, bounds
from fti_assets.training.trainer.parts.rows import RowsInMemory, write_rows
from fti_assets.training.trainer.parts.stream import Source, Stream
from tests.support.examples import examples

FEATURES = [Column("temp", "number"), Column("carrier", "text"), Column("shop", "text")]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(stored_rows, "BLOCK_ROWS", 64)


def raw_columns(rows):
    rng = np.random.default_rng(3)
    temp = rng.normal(size=rows)
    temp[::7] = np.nan
    words = np.array(["UA", "AA", "", "é"], dtype=object)
    return {"temp": temp, "carrier": rng.choice(words, rows), "shop": rng.choice(words, rows)}


def training_data(rows=1_000, seed=0):
    raw = raw_columns(rows)
    labels = (np.nan_to_num(raw["temp"]) > 0).astype(float)
    encoders = {"carrier": Embedding(), "shop": Target(folds=3)}
    fitted = fit_encoders(FEATURES, encoders, raw, target=train_target(labels, "binary"))
    parts = ("train", "validation", "test")
    return TrainingData(
        FEATURES,
        fitted,
        dict.fromkeys(parts, raw),
        dict.fromkeys(parts, labels),
        task="binary",
        progress=Progress(seed),
    )


def as_rows(inputs, y):
    """The rows as a sorted list of bytes: a multiset."""
    matrix = np.hstack([*(values.astype(np.float64) for values in inputs.values()), y.astype(np.float64)[:, None]])
    return sorted(row.tobytes() for row in matrix)


def joined(batches):
    batches = list(batches)
    return {name: np.concatenate([x[name] for x, _ in batches]) for name in batches[0][0]}, np.concatenate(
        [y for _, y in batches]
    )


class AsIs:
    """An encoder that gives the one number of a row."""

    def empty(self, rows):
        return {"dense": np.empty((rows, 1), np.float32)}

    def fill(self, arrays, start, block, rows=None):
        values = block["at"] if rows is None else block["at"][rows]
        arrays["dense"][start : start + len(values), 0] = values
        return start + len(values)


@settings(max_examples=examples(75), deadline=None)
@given(
    rows=st.integers(1, 400),
    batch_size=st.integers(1, 150),
    shuffle_blocks=st.integers(1, 4),
    seed=st.one_of(st.none(), st.integers(-5, 5)),
    block_rows=st.sampled_from([7, 32]),
    processes=st.integers(1, 3),
)
def test_each_epoch_has_each_row_once(rows, batch_size, shuffle_blocks, seed, block_rows, processes):
    batch_size *= processes
    stored_rows.BLOCK_ROWS = block_rows  # put back by the fixture
    stored = RowsInMemory({"at": np.arange(rows, dtype=np.float64)}, rows)
    source = Source(stored, AsIs(), {"y": np.arange(rows)}, {})
    streams = [
        Stream(source, batch_size, seed=seed, shuffle_blocks=shuffle_blocks, share=Share(rank, processes))
        for rank in range(processes)
    ]
    whole = Stream(source, batch_size, seed=seed, shuffle_blocks=shuffle_blocks)
    expected = rows - rows % processes
    for _ in range(2):
        if not expected:
            return
        of_ranks = [list(stream) for stream in streams]
        assert (
            {len(batches) for batches in of_ranks}
            == {len(streams[0])}
            == {len(bounds(rows, batch_size, processes)) - 1}
        )
        observed = np.concatenate([y for batches in of_ranks for _, y in batches])
        assert len(observed) == len(set(observed.tolist())) == expected
        for batches in of_ranks:
            for x, y in batches:
                np.testing.assert_array_equal(x["dense"][:, 0], y)
        # Interleaved, the processes' rows are the very batches of one process.
        alone = np.concatenate([y for _, y in whole])[:expected]
        together = [
            np.stack(parts, axis=1).ravel() for parts in zip(*([y for _, y in one] for one in of_ranks), strict=True)
        ]
        np.testing.assert_array_equal(np.concatenate(together), alone)


def test_a_stream_has_the_rows_of_the_part():
    data = training_data()
    stream = data.train.stream(batch_size=90, shuffle_blocks=3)
    first, second = joined(stream), joined(stream)
    assert as_rows(*first) == as_rows(*second) == as_rows(data.train.inputs, data.train.y)
    assert first[1].tolist() != second[1].tolist()
    assert {name: values.dtype for name, values in first[0].items()} == {
        name: values.dtype for name, values in data.train.inputs.items()
    }


def test_seed_and_epoch_fix_the_order():
    data = training_data()

    def order(seed, epoch=0):
        stream = data.train.stream(batch_size=90, seed=seed)
        stream.epoch = epoch
        return joined(stream)[0]["dense"].tobytes()

    assert order(1) == order(1) != order(2)
    assert order(1, epoch=4) == order(1, epoch=4) != order(1)
    assert order("run") == order(0) == joined(data.train.stream(batch_size=90))[0]["dense"].tobytes()
    kept = joined(data.train.stream(batch_size=90, seed=None))[0]
    np.testing.assert_array_equal(kept["dense"], data.train.inputs["dense"])


def test_a_stream_has_the_seed_of_the_run():
    data, other = training_data(), training_data(seed=5)
    expected = joined(data.train.stream(batch_size=90, seed=5))[1].tolist()
    assert joined(other.train.stream(batch_size=90))[1].tolist() == expected
    assert joined(data.train.stream(batch_size=90))[1].tolist() != expected


def test_the_order_is_that_of_earlier_code():
    stored = RowsInMemory({"at": np.arange(200, dtype=np.float64)}, 200)
    stream = Stream(Source(stored, AsIs(), {"y": np.arange(200)}, {}), 200, seed=5, shuffle_blocks=2)
    [(_, y)] = stream
    assert y[:8].tolist() == [183, 150, 116, 104, 140, 89, 100, 83]


def test_tensors_and_frames_are_the_same_batches():
    torch = pytest.importorskip("torch")
    data = training_data()
    arrays = list(data.train.stream(batch_size=90, seed=4))
    tensors = list(data.train.stream(batch_size=90, seed=4).tensors())
    frames = list(data.train.stream(batch_size=90, seed=4).frames())
    assert len(arrays) == len(tensors) == len(frames) == len(data.train.stream(batch_size=90).tensors())
    for (x, y), (tensor, label), (frame, other) in zip(arrays, tensors, frames, strict=True):
        assert label.dtype == torch.float32
        np.testing.assert_array_equal(x["dense"], tensor["dense"].numpy())
        np.testing.assert_array_equal(y, label.numpy())
        np.testing.assert_array_equal(y, other)
        assert frame.dtypes.equals(data.train.frame.dtypes)
    whole = np.concatenate([frame["temp"] for frame, _ in frames])
    np.testing.assert_array_equal(np.sort(whole), np.sort(data.train.frame["temp"]))


def test_rows_on_disk_are_the_rows_in_memory(tmp_path):
    raw = raw_columns(500)
    table = pa.table({name: pa.array(values.tolist()) for name, values in raw.items()})
    stored = write_rows(tmp_path / "rows.arrow", duckdb.from_arrow(table), FEATURES)
    assert sum(stored.blocks) == 500
    for name, values in stored.columns.items():
        assert values.dtype == raw[name].dtype
        np.testing.assert_array_equal(values, raw[name])
    with stored.part(["shop"]).open() as read:
        np.testing.assert_array_equal(read(0)["shop"].values, raw["shop"][: stored.blocks[0]])
    assert list(stored.part(["shop"]).columns) == ["shop"]


TEXT_ENCODERS = [OneHot(), OneHot(max_categories=2), Embedding(), Ordinal(), Hashing(buckets=7), Target(folds=3)]


def test_rows_on_disk_are_encoded_as_in_memory(tmp_path):
    """Whatever encodes a text, and in whatever order the features stand."""
    rows = 300
    rng = np.random.default_rng(5)
    words = np.array(["b", "", "a", "é", "b b", "\x00"], dtype=object)
    raw = {f"t{at}": rng.choice(words, rows) for at in range(len(TEXT_ENCODERS))}
    raw |= {"n": rng.normal(size=rows), "flag": rng.choice([0.0, 1.0, np.nan], rows)}
    names = ["t3", "n", *(f"t{at}" for at in (0, 5, 1, 4)), "flag", "t2"]
    kinds = {"n": "number", "flag": "boolean"}
    features = [Column(name, kinds.get(name, "text")) for name in names]
    labels = (np.nan_to_num(raw["n"]) > 0).astype(float)
    encoders = {f"t{at}": encoder for at, encoder in enumerate(TEXT_ENCODERS)} | {"flag": OneHot()}
    fitted = fit_encoders(features, encoders, raw, target=train_target(labels, "binary"))
    table = pa.table({name: pa.array(raw[name].tolist()) for name in names})
    stored = write_rows(tmp_path / "rows.arrow", duckdb.from_arrow(table), features)
    for name in names:
        np.testing.assert_array_equal(stored.columns[name], raw[name])
    few = dict.fromkeys(("validation", "test"), raw)
    of_parts = dict.fromkeys(("train", "validation", "test"), labels)
    on_disk = TrainingData(features, fitted, {"train": stored, **few}, of_parts, task="binary").train
    in_memory = TrainingData(features, fitted, {"train": raw, **few}, of_parts, task="binary").train
    for name, values in in_memory.inputs.items():
        np.testing.assert_array_equal(on_disk.inputs[name], values)
    assert on_disk.frame.equals(in_memory.frame)
    expected = as_rows(in_memory.inputs, in_memory.y)
    assert as_rows(*joined(on_disk.stream(batch_size=64))) == expected
    halves = [on_disk.stream(batch_size=64, share=Share(rank, 2)) for rank in range(2)]
    assert sorted(row for half in halves for row in as_rows(*joined(half))) == expected


def test_no_room_for_the_rows_is_said(tmp_path):
    relation = duckdb.connect().sql("SELECT 1.0 AS temp")
    with pytest.raises(StoreError, match=r"rows\.arrow could not be written"):
        write_rows(tmp_path / "nowhere" / "rows.arrow", relation, FEATURES[:1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda part: part.stream(0), "batch size of 0"),
        (lambda part: part.stream(True), "batch size of True"),
        (lambda part: part.stream(shuffle_blocks=0), "shuffle_blocks=0"),
        (lambda part: part.stream(9, share=Share(0, 2)), "9 rows cannot be shared evenly by 2.*batch_size=8"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(call, message):
    with pytest.raises(ModelError, match=message):
        call(training_data(100).train)
