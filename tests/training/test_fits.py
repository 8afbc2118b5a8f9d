"""``data.fit``: what a killed training goes on from, what it says of itself, and how it ends when it cannot go on."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fti_assets.core.manifest import Column
from fti_assets.core.manifest.learning import EpochRecord
from fti_assets.errors import ModelError
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, image
from fti_assets.training.judging.pictures.learning import learning_in_words, learning_picture, learning_section
from fti_assets.training.models.data import TrainingData
from fti_assets.training.trainer.fits import epoch_end
from fti_assets.training.trainer.fits.checkpoints import FOLDER, checkpoint_folder, save_tensors
from fti_assets.training.trainer.fits.progress import Progress, seeded
from tests.support.full_disks import files_at_most

torch = pytest.importorskip("torch")

FEATURES = [Column("a", "number"), Column("b", "number")]


def training_data(progress=None, rows=96):
    rng = np.random.default_rng(0)
    raw = {"a": rng.normal(size=rows), "b": rng.normal(size=rows)}
    labels = (raw["a"] > raw["b"]).astype(float)
    parts = ("train", "validation", "test")
    fitted = fit_encoders(FEATURES, {}, raw)
    return TrainingData(
        FEATURES, fitted, dict.fromkeys(parts, raw), dict.fromkeys(parts, labels), task="binary", progress=progress
    )


class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, width), torch.nn.Dropout(0.2), torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 1)
        )

    def forward(self, x):
        return self.layers(x["dense"]).squeeze(-1)


class Killed(BaseException):
    pass


def killed_in(epoch):
    def log(line):
        if line.startswith(f"epoch {epoch} "):
            raise Killed

    return log


def weights(module):
    return {name: values.tolist() for name, values in module.state_dict().items()}


@pytest.fixture
def _checkpoint_each_epoch(monkeypatch):
    monkeypatch.setattr(epoch_end, "SECONDS", -1.0)


@pytest.mark.usefixtures("_checkpoint_each_epoch")
@pytest.mark.parametrize("stream", [False, True])
def test_a_killed_fit_goes_on_to_the_same_weights(tmp_path, stream):
    whole = Progress()
    expected = weights(training_data(whole).fit(Net(), epochs=4, batch_size=32, stream=stream))
    first = Progress(folder=tmp_path)
    with pytest.raises(Killed):
        training_data(first).fit(Net(), epochs=4, batch_size=32, stream=stream, log=killed_in(3))
    lines = []
    second = Progress(tell=lines.append, folder=tmp_path)
    assert weights(training_data(second).fit(Net(), epochs=4, batch_size=32, stream=stream)) == expected
    assert lines[0].startswith("goes on after epoch 2 of 4")
    assert [line.partition(":")[0] for line in lines[1:3]] == ["epoch 3 of 4", "epoch 4 of 4"]
    assert second.history == whole.history
    # Another run after a later kill finds the fit done, and takes its weights.
    lines.clear()
    third = Progress(tell=lines.append, folder=tmp_path)
    assert weights(training_data(third).fit(Net(), epochs=4, batch_size=32, stream=stream)) == expected
    assert lines == ["fit 1 was whole when the run before was ended: its weights are taken"]
    assert third.history == whole.history


class Noisy(Net):
    """Draws from Python's and from numpy's random numbers while it is trained."""

    def forward(self, x):
        noise = random.random() + np.random.normal() if self.training else 0.0
        return super().forward(x) + noise


@pytest.mark.usefixtures("_checkpoint_each_epoch")
def test_all_random_numbers_go_on_in_a_resumed_fit(tmp_path):
    def fits(*, folder, log=None):
        with seeded(7):
            data, module = training_data(Progress(folder=folder)), Noisy()
            data.fit(module, epochs=4, batch_size=32, log=log)
            after = random.random(), np.random.random()
        return weights(module), after

    expected = fits(folder=None)
    with pytest.raises(Killed):
        fits(folder=tmp_path, log=killed_in(3))
    assert fits(folder=tmp_path) == expected  # from the checkpoint
    assert fits(folder=tmp_path) == expected  # from the weights of the whole fit


@pytest.mark.usefixtures("_checkpoint_each_epoch")
def test_another_module_or_damage_begins_anew(tmp_path):
    with pytest.raises(Killed):
        training_data(Progress(folder=tmp_path)).fit(Net(), epochs=3, batch_size=32, log=killed_in(3))
    [checkpoint] = tmp_path.glob("*.ckpt")
    lines = []
    training_data(Progress(tell=lines.append, folder=tmp_path)).fit(Net(width=5), epochs=1, batch_size=32)
    assert lines[0].startswith("epoch 1 of 1")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    lines.clear()
    training_data(Progress(tell=lines.append, folder=tmp_path)).fit(Net(), epochs=3, batch_size=32)
    assert "cannot be read, training begins again" in lines[0]
    assert lines[1].startswith("epoch 1 of 3")


@pytest.mark.usefixtures("_checkpoint_each_epoch")
def test_no_room_for_a_checkpoint_ends_no_training(tmp_path):
    lines = []
    (tmp_path / "file").write_text("")
    training_data(Progress(tell=lines.append, folder=tmp_path / "file")).fit(Net(), epochs=1, batch_size=32)
    assert any("could not be written" in line and "goes on without" in line for line in lines)


def test_weights_without_room_are_an_error_of_the_disk(tmp_path):
    with files_at_most(100), pytest.raises(OSError, match="too large"):  # torch's own writer raises a RuntimeError
        save_tensors(Net().state_dict(), tmp_path / "weights")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
from pathlib import Path
from fti_assets.training.trainer.fits import epoch_end
from fti_assets.training.trainer.fits.progress import Progress
from tests.training.test_fits import Net, training_data

epoch_end.SECONDS = -1.0
say = lambda line: print(line, flush=True)
training_data(Progress(tell=say, folder=Path(sys.argv[1]))).fit(Net(), epochs=int(sys.argv[2]), batch_size=32, patience=10**6)
"""


@pytest.mark.soak
def test_a_process_that_was_killed_left_a_whole_checkpoint(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), "100000"]
    lines = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
            lines.append([next(process.stdout) for _ in range(5)])
            process.kill()
    assert lines[0][0].startswith("epoch 1 of")
    assert lines[1][0].startswith("goes on after epoch ")
    assert int(lines[1][0].split()[4]) >= 4


class Diverging(Net):
    """Its answers are NaN in training from some epoch on, counted in batches."""

    def __init__(self, batches):
        super().__init__()
        self.batches, self.seen = batches, 0

    def forward(self, x):
        self.seen += self.training
        return super().forward(x) * (float("nan") if self.training and self.seen > self.batches else 1.0)


def test_a_loss_that_is_no_number_is_named():
    class NoValidation(Diverging):
        pass

    data = training_data()
    data.validation = training_data(rows=1).validation
    data.validation.y = data.validation.y[:0]
    data.validation.stored.blocks = ()
    with pytest.raises(
        ModelError, match=r"NoValidation has diverged: its training loss is nan in epoch 2 of 4.*learning rate"
    ):
        data.fit(NoValidation(3), epochs=4, batch_size=32)


def test_a_late_divergence_keeps_the_best_epoch():
    lines = []
    module = training_data(Progress(tell=lines.append)).fit(Diverging(6), epochs=5, batch_size=32)
    assert any(
        "the training loss is nan in epoch 3: training ends, with the weights of epoch 2" in line for line in lines
    )
    assert all(torch.isfinite(values).all() for values in module.state_dict().values())
    assert len([line for line in lines if line.startswith("epoch")]) == 3


class Worsening(Net):
    """A lower loss in its first validation alone."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        answers = super().forward(x)
        self.seen += not self.training
        return answers if self.training else answers * 0 + self.seen


@pytest.mark.parametrize(
    ("validations", "epochs"),
    [({}, 3), ({"val_check_interval": 1}, 3), ({"check_val_every_n_epoch": 2}, 4)],
)
def test_patience_counts_epochs_not_validations(validations, epochs):
    progress = Progress()
    data = training_data(progress)
    data.validation.y[:] = 0  # so that the loss rises with what the module answers
    data.fit(Worsening(), epochs=9, batch_size=48, patience=2, **validations)
    assert len(progress.history) == epochs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"devices": 0}, "devices=0"),
        ({"devices": "auto"}, "devices='auto'"),
        ({"strategy": "fsdp"}, "strategy='fsdp'.*'ddp'"),
        ({"max_epochs": 3}, "'max_epochs'.*say epochs="),
        ({"logger": True}, "'logger'"),
        ({"accelerator": "abacus"}, "Lightning's trainer:.*abacus"),
        ({"precision": "3-bit"}, "Lightning's trainer:.*3-bit"),
        ({"gradient_klip": 1.0}, "Lightning's trainer:.*gradient_klip"),
    ],
)
def test_a_trainer_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        training_data().fit(Net(), epochs=1, **arguments)


def test_further_arguments_reach_lightnings_trainer():
    import pytorch_lightning as pl

    class Seen(pl.Callback):
        def on_train_start(self, trainer, _):
            self.found = trainer.gradient_clip_val, trainer.precision

    observed = Seen()
    training_data().fit(Net(), epochs=1, gradient_clip_val=0.5, precision="bf16-mixed", callbacks=[observed])
    assert observed.found == (0.5, "bf16-mixed")


def test_own_loops_note_their_epochs():
    lines = []
    progress = Progress(seed=7, tell=lines.append)
    data = training_data(progress)
    assert data.seed == 7
    data.log(1, loss=np.float32(0.5))
    data.log(1, loss=0.25, auc=torch.tensor(0.75))
    data.log(2, loss=float("nan"))
    assert progress.history == [EpochRecord(0, 1, {"loss": 0.25, "auc": 0.75}), EpochRecord(0, 2, {})]
    assert lines == ["epoch 1: loss 0.5", "epoch 1: auc 0.75, loss 0.25", "epoch 2: loss nan"]
    for epoch, metrics, message in ((-1, {}, "epoch=-1"), (1, {"loss": "low"}, r"data\.log\(loss=str\)")):
        with pytest.raises(ModelError, match=message):
            data.log(epoch, **metrics)


def test_random_numbers_are_seeded_and_put_back():
    def drawn():
        return random.random(), np.random.random(), float(torch.rand(()))

    before = random.getstate(), np.random.get_state()[1].tolist()
    draws = []
    for seed in (3, 3, 4):
        with seeded(seed):
            draws.append(drawn())
    assert draws[0] == draws[1] != draws[2]
    assert before == (random.getstate(), np.random.get_state()[1].tolist())


def test_torch_is_seeded_by_the_block_that_imports_it(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("seeds = []\ndef manual_seed(seed):\n    seeds.append(seed)\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    for seed in (3, 4):
        monkeypatch.delitem(sys.modules, "torch")
        with seeded(seed):
            import torch as first

            with seeded(seed + 10):
                pass
        assert first.seeds == [seed, seed + 10]
    with seeded(5):
        pass
    assert (sys.meta_path, first.seeds) == (before, [4, 14, 5])


@pytest.mark.parametrize("epochs", [2, 3, 500])
def test_the_learning_curve_is_small_and_whole(epochs):
    history = [
        EpochRecord(1, at, {"train_loss": 1 / at, "val_loss": 1.5 / at + at / 100}) for at in range(1, epochs + 1)
    ]
    picture = learning_picture([EpochRecord(0, 1, {"auc": 0.5}), *history])
    assert picture is not None
    assert len(image(picture, "learning_curve")) < SHOWN_IN_PLACE
    assert "train_loss" in picture
    assert "val_loss" in picture
    assert learning_section(history).count("<tr>") == 1 + min(epochs, 100)
    assert f"{epochs} epochs; the lowest val_loss" in learning_in_words(history)
    assert learning_picture(history[:1]) is None
    assert learning_picture([]) is None


def ended(opened, error):
    """A training that leaves a checkpoint and ends so."""
    results = []

    def train():
        with opened as folder:
            results.append(folder)
            (folder / "epoch").write_text("3")
            raise error

    with pytest.raises(type(error)):
        train()
    return results[0]


def test_a_checkpoint_folder_is_kept_for_a_killed_run_alone(tmp_path):
    lines = []

    def opened(*about):
        return checkpoint_folder(tmp_path, "2024-01-01|a", *about, say=lines.append)

    folder = ended(opened("code"), Killed())
    assert (folder / "epoch").read_text() == "3"
    with opened("other code") as other:
        assert other != folder
    with opened("code") as again:
        assert (again / "epoch").exists()
        with opened("code") as second:
            assert second is None
        assert "another run trains 2024-01-01|a" in lines[-1]
    assert not (tmp_path / FOLDER).exists()
    ended(opened("code"), ModelError("diverged"))
    assert not (tmp_path / FOLDER).exists()


def test_folders_of_killed_runs_are_few(tmp_path):
    for cutoff in range(8):
        ended(checkpoint_folder(tmp_path, str(cutoff)), Killed())
    assert len(list((tmp_path / FOLDER).iterdir())) == 4
    (tmp_path / "file").write_text("")
    lines = []
    with checkpoint_folder(tmp_path / "file", "1", say=lines.append) as folder:
        assert folder is None
    assert "no checkpoints are kept" in lines[0]
