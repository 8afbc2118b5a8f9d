"""Several processes train what one trains, and if one of them fails, all end and it is said why."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from fti_assets.errors import ModelError
from fti_assets.training.trainer.fits import epoch_end, processes, worker
from fti_assets.training.trainer.fits.progress import Progress
from fti_assets.training.trainer.fits.settings import Settings
from fti_assets.training.trainer.parts.batches import ALONE, Share
from tests.support.nets import Dying, Linear, Noisy, Raising
from tests.training.test_fits import training_data

torch = pytest.importorskip("torch")


def weights(module):
    return {name: values.numpy() for name, values in module.state_dict().items()}


@pytest.mark.soak
@pytest.mark.parametrize("stream", [False, True])
def test_two_processes_train_what_one_does(stream, tmp_path):
    whole, lines = Progress(), []
    halves = Progress(tell=lines.append, folder=tmp_path)
    one = training_data(whole).fit(Linear(2), epochs=2, batch_size=32, stream=stream)
    two = training_data(halves).fit(Linear(2), epochs=2, batch_size=32, stream=stream, devices=2, strategy="ddp")
    for name, values in weights(one).items():
        np.testing.assert_allclose(weights(two)[name], values, atol=1e-6)
    assert [entry.epoch for entry in halves.history] == [1, 2]
    for mine, other in zip(whole.history, halves.history, strict=True):
        for name, value in mine.metrics.items():
            assert other.metrics[name] == pytest.approx(value, abs=1e-5)
    assert lines[0].startswith("epoch 1 of 2: train_loss")


@pytest.mark.soak
def test_two_processes_that_draw_numbers_train_the_same_again():
    first, again = (training_data().fit(Noisy(2), epochs=2, batch_size=32, devices=2) for _ in range(2))
    other = training_data(Progress(seed=1)).fit(Noisy(2), epochs=2, batch_size=32, devices=2)
    for name, values in weights(first).items():
        np.testing.assert_array_equal(weights(again)[name], values)
        assert (weights(other)[name] != values).all()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Raising, "Raising was not trained in 2 processes: process 2 failed: ValueError: no answer today"),
        (Dying, r"Dying was not trained in 2 processes: one was ended by signal 9 \(SIGKILL\)"),
    ],
)
def test_a_process_that_fails_ends_all(kind, message):
    module = kind(2)
    before = weights(module)
    with pytest.raises(ModelError, match=message):
        training_data().fit(module, epochs=1, batch_size=32, devices=2)
    for name, values in before.items():
        np.testing.assert_array_equal(weights(module)[name], values)


def settings(**changes):
    return replace(Settings(task="binary", epochs=1, batch_size=32, patience=3, seed=0), **changes)


@pytest.mark.parametrize("stream", [False, True])
def test_the_gradient_of_the_shares_is_that_of_the_batch(stream):
    data = training_data()

    def gradients(share):
        for x, y in data.train.feed(stream=stream).loader(32, 5, share):
            module = Linear(2)
            data.loss(module(x), y).backward()
            yield module.layer.weight.grad.numpy()

    halves = zip(gradients(Share(0, 2)), gradients(Share(1, 2)), strict=True)
    for whole, (first, second) in zip(gradients(ALONE), halves, strict=True):
        np.testing.assert_allclose((first + second) / 2, whole, atol=1e-7)


@pytest.mark.parametrize("stream", [False, True])
def test_a_worker_trains_what_it_is_handed(stream, tmp_path, monkeypatch):
    """The worker within this process, alone, so without a launcher; the soak tests start true ones."""
    data, module = training_data(), Linear(2)
    feeds = [
        part.feed(stream=stream).spilled(tmp_path, name) for name, part in (("t", data.train), ("v", data.validation))
    ]
    job = processes.Job(module, *feeds, settings(), None, os.getpid())
    processes._hand_over(job, tmp_path / processes.JOB)
    # Lightning's ddp needs the launcher; one process alone needs none.
    monkeypatch.setattr(worker, "_strategy", lambda settings: "auto")
    monkeypatch.setattr(worker, "_watch", lambda job: None)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    worker.main(tmp_path)
    trained = torch.load(tmp_path / processes.RESULT, weights_only=True)
    expected = training_data().fit(Linear(2), epochs=1, batch_size=32, stream=stream)
    for name, values in weights(expected).items():
        np.testing.assert_array_equal(trained[name].numpy(), values)
    notes, lines = [], []
    follower = processes._Follower(tmp_path / processes.PROGRESS, lambda *note: notes.append(note), lines.append)
    follower.follow()
    follower.follow()
    assert [epoch for epoch, _ in notes] == [1]
    assert len(lines) == 1


def _gather(rank, port, place):
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    gathered = epoch_end._of_all_processes(torch, 2, {"python": (rank, "own")})
    torch.distributed.destroy_process_group()
    (place / str(rank)).write_text(repr(gathered))


@pytest.mark.soak
def test_a_checkpoint_has_the_random_numbers_of_each_process(tmp_path):
    torch.multiprocessing.spawn(_gather, (29_511, tmp_path), nprocs=2)
    expected = repr([{"python": (0, "own")}, {"python": (1, "own")}])
    assert [(tmp_path / str(rank)).read_text() for rank in (0, 1)] == [expected, expected]
    assert epoch_end._of_all_processes(torch, 1, "own") == ["own"]


def test_a_class_that_a_worker_cannot_import_is_named(tmp_path):
    (tmp_path / processes.JOB).write_bytes(pickle.dumps(Linear).replace(b"Linear", b"Absent"))
    with pytest.raises(ModelError, match="import its classes by name: .*Absent.*on the Python path"):
        worker._taken_over(tmp_path / processes.JOB)


def test_what_cannot_be_handed_over_is_named(tmp_path):
    class Local(Linear):
        pass

    with pytest.raises(ModelError, match="Local cannot be handed to several processes.*at the top of a module"):
        training_data().fit(Local(2), epochs=1, batch_size=32, devices=2)


EXIT = """
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 19344)  (SIGTERM)
  rank      : 1 (local_rank: 1)
  exitcode  : 3 (pid: 19345)
"""


@pytest.mark.parametrize(
    ("error", "output", "message"),
    [
        ('{"rank": 1, "own": true, "message": "Net has diverged"}', "", "^Net has diverged$"),
        ('{"rank": 0, "own": false, "message": "OSError: gone"}', "", "process 1 failed: OSError: gone"),
        (None, "  exitcode  : -9 (pid: 7)\n", r"signal 9 \(SIGKILL\).*memory"),
        (
            '{"rank": 0, "own": false, "message": "gloo"}',
            EXIT,
            "process 2 ended by itself with exit code 3 and without",
        ),
        ('{"rank": 1, "own": false, "message": "OSError: gone"}', EXIT, "process 2 failed: OSError: gone"),
        (None, "a\n\nno port\n", "the launcher ended with 3: a no port"),
        (None, "", "it said nothing"),
    ],
)
def test_why_processes_failed_is_said_in_a_sentence(tmp_path, error, output, message):
    (tmp_path / processes.OUTPUT).write_text(output)
    if error:
        (tmp_path / "error-1.json").write_text(error)
    with pytest.raises(ModelError, match=message):
        raise processes._failure(tmp_path, "Net", 2, 3)
