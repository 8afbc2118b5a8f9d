import errno
import os
import random

import numpy as np
import pytest

from fti_assets.core.manifest import Column
from fti_assets.errors import DataError, ModelError, StoreError
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.kinds.categories import Embedding
from fti_assets.training.models.data import TrainingData, class_names, matrix
from fti_assets.training.trainer.parts import feeds
from fti_assets.training.trainer.parts.feeds import SharedArrays

torch = pytest.importorskip("torch")

FEATURES = [Column("temp", "number"), Column("carrier", "text")]


def columns(rows, seed):
    rng = np.random.default_rng(seed)
    temp = rng.normal(size=rows)
    temp[::5] = np.nan
    return {"temp": temp, "carrier": rng.choice(np.array(["UA", "AA", ""], dtype=object), rows)}


def training_data(task="binary", train=300, validation=60, test=40, label=None):
    raw = {part: columns(rows, rows) for part, rows in zip(SPLITS, (train, validation, test), strict=True)}
    if label is None:
        label = {
            "binary": lambda one: (np.nan_to_num(one["temp"]) > 0).astype(float),
            "multiclass": lambda one: one["carrier"].copy(),
            "regression": lambda one: np.nan_to_num(one["temp"]) * 3,
        }[task]
    labels = {part: label(one) for part, one in raw.items()}
    if task == "multiclass":
        labels = {part: np.where(values == "", "none", values) for part, values in labels.items()}
    fitted = fit_encoders(FEATURES, {"carrier": Embedding()}, raw["train"])
    return TrainingData(FEATURES, fitted, raw, labels, task=task)


class Net(torch.nn.Module):
    def __init__(self, data, outputs=1):
        super().__init__()
        torch.manual_seed(0)
        self.carrier = torch.nn.Embedding(data.cardinalities["carrier"], 2)
        self.layers = torch.nn.Sequential(
            torch.nn.BatchNorm1d(data.dense_dim + 2),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(data.dense_dim + 2, outputs),
        )

    def forward(self, x):
        return self.layers(torch.cat([x["dense"], self.carrier(x["carrier"]).flatten(1)], dim=1))


def test_parts_hold_encoded_inputs_raw_columns_and_labels():
    data = training_data()
    assert (data.train.rows, data.validation.rows, data.test.rows) == (300, 60, 40)
    assert (data.dense_dim, data.cardinalities) == (1, {"carrier": 3})
    assert {name: (one.dtype, one.shape) for name, one in data.test.inputs.items()} == {
        "dense": (np.float32, (40, 1)),
        "carrier": (np.int64, (40, 1)),
    }
    assert data.train.y.dtype == np.int64
    assert list(data.test.columns) == ["temp", "carrier"]


def test_x_is_dense_then_the_codes_as_floats():
    part = training_data().test
    assert part.X.dtype == np.float32
    np.testing.assert_array_equal(part.X, np.hstack([part.inputs["dense"], part.inputs["carrier"]]))
    assert matrix({"dense": part.inputs["dense"]}) is part.inputs["dense"]


def test_a_class_called_nan_is_a_class():
    data = training_data("multiclass", label=lambda one: np.where(one["carrier"] == "UA", "nan", "AA").astype(object))
    assert data.classes == ("AA", "nan")
    assert [data.classes[code] for code in data.test.y] == np.where(
        data.test.columns["carrier"] == "UA", "nan", "AA"
    ).tolist()


@pytest.mark.parametrize("nothing", ["", np.nan])
def test_a_label_that_is_nothing_is_no_class(nothing):
    kind = object if nothing == "" else float
    numbers = np.array([nothing, "a", "b"], dtype=object) if nothing == "" else np.array([nothing, 1.0, 2.0])
    labels = {part: np.resize(numbers, rows).astype(kind) for part, rows in zip(SPLITS, (300, 60, 40), strict=True)}
    raw = {part: columns(len(one), 0) for part, one in labels.items()}
    fitted = fit_encoders(FEATURES, {"carrier": Embedding()}, raw["train"])
    with pytest.raises(
        DataError, match="the train part has 100 labels that are missing or empty text, which is not a class"
    ):
        TrainingData(FEATURES, fitted, raw, labels, task="multiclass")


def test_multiclass_labels_are_positions_among_the_sorted_train_classes():
    data = training_data("multiclass")
    assert data.classes == ("AA", "UA", "none")
    names = np.where(data.test.columns["carrier"] == "", "none", data.test.columns["carrier"])
    assert [data.classes[code] for code in data.test.y] == names.tolist()


def test_class_names_of_numbers_have_no_point():
    assert class_names(np.array([10.0, 2.0, 2.5])) == ("10", "2", "2.5")


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        (
            "binary",
            lambda one: np.full(len(one["temp"]), 2.0),
            "300 labels that are not 0 or 1.*2.0.*Give 0 and 1, or booleans",
        ),
        ("binary", lambda one: one["temp"], "not 0 or 1"),
        ("binary", lambda one: np.full(len(one["temp"]), "late", dtype=object), "not numbers.*task='multiclass'"),
        ("regression", lambda one: one["temp"], "60 labels that are not finite"),
        ("multiclass", lambda one: np.full(len(one["temp"]), f"c{len(one['temp'])}", dtype=object), "'c60'.*'c300'"),
        ("binary", lambda one: np.zeros(3), "300 rows and 3 labels"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(task, label, message):
    with pytest.raises(DataError, match=message):
        training_data(task, label=label)


@pytest.mark.parametrize(("task", "dtype"), [("binary", "float32"), ("regression", "float32"), ("multiclass", "int64")])
def test_batches_are_inputs_and_labels_of_the_task(task, dtype):
    data = training_data(task)
    for loader in data.loaders(128):
        x, y = next(iter(loader))
        assert (x["dense"].dtype, x["carrier"].dtype, y.dtype) == (torch.float32, torch.int64, getattr(torch, dtype))
        assert (x["carrier"].shape, y.shape) == ((len(y), 1), (len(y),))


def test_every_epoch_has_every_row_in_another_order_that_seed_fixes():
    data = training_data()

    def epochs(seed):
        train, _ = data.loaders(128, seed)
        assert isinstance(train, torch.utils.data.DataLoader)
        return [torch.cat([x["dense"] for x, _ in train]).flatten().tolist() for _ in range(2)]

    first, second = epochs(0)
    assert sorted(first) == sorted(second) == sorted(data.train.inputs["dense"].flatten().tolist())
    assert first != second
    assert epochs(0) == [first, second]
    assert epochs(1) != [first, second]


def test_validation_keeps_the_order_of_rows():
    data = training_data()
    _, validation = data.loaders(7)
    assert torch.cat([y for _, y in validation]).tolist() == data.validation.y.tolist()


def test_last_batch_of_one_row_joins_one_before():
    train, _ = training_data(train=301).loaders(100)
    assert [len(y) for _, y in train] == [100, 100, 101]
    assert len(train) == 3


def test_a_loader_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    for _ in training_data().loaders(100)[0]:
        pass
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_plain_module_learns_its_task(task, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    data, lines = training_data(task), []
    module = Net(data, 3 if task == "multiclass" else 1)
    assert data.fit(module, epochs=3, batch_size=50, log=lines.append) is module
    assert not module.training
    losses = [float(line.split("val_loss ")[1]) for line in lines]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


def test_same_seed_gives_same_model_and_leaves_random_states_alone():
    data = training_data()
    module = Net(data)
    start = {name: one.clone() for name, one in module.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    fitted = []
    for seed in (0, 0, 1):
        module.load_state_dict(start)
        data.fit(module, epochs=1, batch_size=50, seed=seed)
        fitted.append(module.layers[2].weight.detach().clone())
    assert torch.equal(fitted[0], fitted[1])
    assert not torch.equal(fitted[0], fitted[2])
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def scripted(val_losses):
    """A LightningModule whose weight counts its epochs and whose validation losses are given."""
    import pytorch_lightning as pl

    class Scripted(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch, _):
            return self.weight * 0

        def on_train_epoch_start(self):
            with torch.no_grad():
                self.weight += 1

        def validation_step(self, batch, _):
            if val_losses:
                self.log("val_loss", torch.tensor(val_losses[self.current_epoch]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Scripted()


@pytest.mark.parametrize(
    ("val_losses", "patience", "kept"),
    [
        ([3.0, 2.0, 2.5, 2.6, 1.0], 2, 2),
        ([3.0, 2.0, 2.5, 1.0, 2.0], 2, 4),
        ([float("nan")] * 5, 9, 5),
        ([], 1, 5),
    ],
)
def test_training_ends_early_and_best_weights_are_put_back(val_losses, patience, kept):
    module = training_data().fit(scripted(val_losses), epochs=5, patience=patience)
    assert module.weight.item() == kept


def test_without_validation_rows_the_last_weights_stay():
    module = training_data(validation=0).fit(scripted([1.0]), epochs=2)
    assert module.weight.item() == 2


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda data: data.fit(object()), "trains torch modules, not object"),
        (lambda data: data.fit(Net(data), epochs=0), "epochs=0"),
        (lambda data: data.fit(Net(data), patience=0), "patience=0"),
        (lambda data: data.fit(Net(data), batch_size=0), "batch size of 0"),
        (lambda _: training_data(train=0).fit(None), "no rows"),
    ],
)
def test_what_cannot_be_fitted_is_refused(fit, message):
    with pytest.raises(ModelError, match=message):
        fit(training_data())


@pytest.fixture(params=[0, 2**24], ids=["in a file", "in memory"])
def shared_bytes(request, monkeypatch):
    monkeypatch.setattr(feeds, "SHARED_BYTES", request.param)
    return request.param


def test_shared_arrays_are_each_ones_own(shared_bytes):
    arrays = {
        "dense": np.arange(9, dtype=np.float32).reshape(3, 3),
        "nothing": np.empty((3, 0), dtype=np.float32),
        "code": np.arange(6, dtype=np.int64)[::2, None],
    }
    shared = SharedArrays(arrays)
    one, other = shared.copies(), shared.copies()
    for name, values in one.items():
        assert values.flags.writeable
        assert values.flags.aligned
        assert (values.dtype, values.shape) == (arrays[name].dtype, arrays[name].shape)
        values[...] = -1
    torch.from_numpy(one["code"])[0] = 5
    for copies in (other, shared.copies()):
        assert all((values == arrays[name]).all() for name, values in copies.items())
    assert one["code"].tolist() == [[5], [-1], [-1]]
    del shared
    assert (other["dense"] == arrays["dense"]).all(), "they live as long as somebody has them"


def test_copies_of_parts_share_what_was_encoded_once(shared_bytes):
    data = training_data()
    wanted = {name: values.copy() for name, values in training_data().train.inputs.items()}
    observed = data.copy(keep=True)
    observed.train.inputs["dense"][:] = 7
    again = observed.train.copy().inputs
    assert (again["dense"] == 7).all()
    for part in (data.copy(keep=True).train, data.copy().train, data.train):
        assert all((values == wanted[name]).all() for name, values in part.inputs.items())


def test_no_room_for_shared_arrays_is_said(monkeypatch):
    monkeypatch.setattr(feeds, "SHARED_BYTES", 0)

    class Full:
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self): ...

    monkeypatch.setattr(feeds.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(StoreError, match="No space left"):
        SharedArrays({"dense": np.ones(3)})
