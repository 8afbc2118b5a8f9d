"""What goes wrong in a model's run is named, leaves nothing half written, and the champion as it was."""

import errno
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.core.manifest import Task
from fti_assets.core.manifest.learning import LearningRecord
from fti_assets.core.records import from_json
from fti_assets.errors import ModelError
from fti_assets.stores.models import store as model_store
from fti_assets.training.judging.pictures.learning import LEARNING_FILE
from fti_assets.training.models.champions.promotion import successor_of_lost
from fti_assets.training.models.parts import split_rows
from fti_assets.training.trainer.fits import epoch_end
from fti_assets.training.trainer.fits.checkpoints import FOLDER
from fti_assets.training.trainer.fits.losses import loss
from fti_assets.training.trainer.parts import rows
from tests.training.test_model_run import Bench, bench, buyer, good, made, materialized

__all__ = ["bench", "made"]


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = result.get_step_failure_events()
    return str(failure.step_failure_data.error)


def training_folders(bench: Bench) -> list[Path]:
    return list((bench.store.root / "buyer" / FOLDER).glob("*"))


def small_net(data: fti.TrainingData, scale: float = 1.0) -> Any:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(data.dense_dim, 1)

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.layer(x["dense"]).squeeze(-1) * scale

    return Net()


def test_a_diverged_training_is_named_and_nothing_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_end, "SECONDS", -1.0)
    first = bench.published("05", promoted=True)
    model = buyer(lambda data: data.fit(small_net(data, float("nan")), epochs=2))
    assert "Net has diverged: its training loss is nan in epoch 1 of 2" in failure_of(bench.train(model, "07"))
    assert bench.champion == first.reference
    assert len(bench.builds()) == 1
    assert not training_folders(bench)


RUNS: dict[str, Any] = {}
"""What runs note and are told: no values that a function closes over, which would make it another one."""


def test_a_killed_run_goes_on_and_publishes_one_build(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_end, "SECONDS", -1.0)
    monkeypatch.setitem(RUNS, "killed", True)

    def fit(data: fti.TrainingData) -> Any:
        def log(line: str) -> None:
            if RUNS["killed"] and line.startswith("epoch 2 "):
                raise MemoryError  # as what ends a process: not the training's own fault

        return data.fit(small_net(data), epochs=3, batch_size=32, log=log)

    model = buyer(fit, gates=[])
    assert "MemoryError" in failure_of(bench.train(model, "07"))
    assert bench.builds() == []
    assert len(training_folders(bench)) == 1
    monkeypatch.setitem(RUNS, "killed", False)
    result = bench.train(model, "07")
    assert result.success
    assert not training_folders(bench)
    (manifest,) = bench.builds()
    learned = from_json(LearningRecord, bench.store.file(manifest, LEARNING_FILE), what="it", remedy="")
    assert [one.epoch for one in learned.epochs] == [1, 2, 3]
    assert all({"train_loss", "val_loss"} <= set(one.metrics) for one in learned.epochs)
    event = materialized(result, model)["2013-01-07"]
    assert "learning_curve" in event.metadata
    assert "Trained for 3 epochs; the lowest val_loss" in event.metadata["card"].value  # type: ignore[operator]
    page = (bench.store.folder(manifest) / "pictures.html").read_text()
    assert "<h2>Learning curve</h2>" in page


def test_the_seed_of_a_run_is_its_tag_and_in_the_manifest(bench: Bench) -> None:
    import random

    drawn: list[Any] = []

    def fit(data: fti.TrainingData) -> Any:
        drawn.append((data.seed, random.random()))
        data.log(1, loss=0.5)
        return good(data)

    model = buyer(fit)
    for tags in ({}, {"fti/seed": "3"}, {"fti/seed": "3"}):
        assert bench.train(model, "07", tags=tags).success
    assert [seed for seed, _ in drawn] == [0, 3, 3]
    assert drawn[0] != drawn[1] == drawn[2]
    assert sorted(one.seed or 0 for one in bench.builds()) == [0, 3, 3]
    assert "fti/seed='three': give a whole number" in failure_of(bench.train(model, "07", tags={"fti/seed": "three"}))


def test_no_space_for_the_model_is_named_and_keeps_the_champion(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.published("05", promoted=True)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(model_store, "publish_folder", full)
        assert "could not be written: No space left on device" in failure_of(bench.train(buyer(), "07"))
    assert bench.champion == first.reference
    assert len(bench.builds()) == 1
    assert not list((bench.store.root / "buyer").glob("v*/.*"))
    assert bench.train(buyer(), "07").success


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_no_space_for_the_rows_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def full(path: Path, *others: Any) -> Any:
        return rows.write_rows(path / "beyond" if path.stem == part else path, *others)

    monkeypatch.setattr(split_rows, "write_rows", full)
    assert f"{part}.arrow" in failure_of(bench.train(buyer(), "07"))
    assert bench.builds() == []


def test_two_runs_of_a_cutoff_at_once_end_with_one_champion(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    observed: list[Any] = []
    monkeypatch.setitem(RUNS, "seen", observed)

    def run_once_more() -> None:
        with dg.DagsterInstance.ephemeral() as other:
            assert Bench(bench.made.root.parent, bench.store.root, other).train(model, "07").success

    monkeypatch.setitem(RUNS, "meanwhile", run_once_more)

    def outer(data: fti.TrainingData) -> Any:
        RUNS["seen"].append(data.checkpoints)
        if len(RUNS["seen"]) == 1:
            RUNS["meanwhile"]()
        return good(data)

    model = buyer(outer)
    assert "the champion of model 'buyer' is" in failure_of(bench.train(model, "07"))
    assert observed[0] is not None
    assert observed[1] is None
    assert len(bench.builds()) == 2
    assert bench.champion in {one.reference for one in bench.builds()}
    assert not training_folders(bench)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"champion": "{champion}"', '"champion": "v1/20130101T000000Z-00000000"', "v1/20130101T000000Z-00000000"),
        ('"champion": "{champion}"', '"champion": "{champion}", "champion": "v1/20130101T000000Z-00000000"', "twice"),
        ('"champion": "{champion}"', '"champion": ["{champion}", "{champion}"]', "champion"),
        ('"format": 1', '"format": 9', "format 9"),
    ],
)
def test_aliases_that_were_edited_are_named_and_left(
    bench: Bench, old: str, new: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    first = bench.published("05", promoted=True)
    path = bench.store.aliases_file("buyer")
    text = path.read_text()
    old, new = (one.replace("{champion}", first.reference) for one in (old, new))
    assert old in text
    at = text.index(old) if "champion" in old else text.rindex(old)  # of the file itself, not of its history
    edited = text[:at] + new + text[at + len(old) :]
    path.write_text(edited)
    model = buyer(gates=[fti.NotWorseThanChampion("log_loss")])
    result = bench.train(model, "07")
    if result.success:
        # One that is not there is as lost as if its files were: the next that is accepted takes its place, and all say so.
        assert f"no build '{message}'" in capfd.readouterr().err
        assert bench.store.aliases("buyer").history[-1].previous == message
    else:
        assert message in failure_of(result)
        assert path.read_text() == edited
    assert isinstance(bench.store.load("buyer", first.reference)[1], bytes)


def test_lost_champion_gives_way_as_the_warning_says(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    first, lost = bench.published("05", promoted=True), "v1/20130201T000000Z-00000000"
    path = bench.store.aliases_file("buyer")
    head, _, tail = path.read_text().partition(f'"champion": "{first.reference}"')
    path.write_text(f'{head}"champion": "{lost}"{tail}')
    assert bench.train(buyer(), "07").success
    assert "takes its place, if its cutoff is not before 20130201T000000Z. " in capfd.readouterr().err
    assert bench.champion == lost
    assert successor_of_lost("automatic", "no reference", "m") == "a build that its gates accept takes its place"
    assert "stays until somebody promotes another: fti models promote m " in successor_of_lost("by_hand", lost, "m")


def test_a_manifest_of_a_later_format_is_named(bench: Bench) -> None:
    first = bench.published("05", promoted=True)
    path = bench.store.folder(first) / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))
    before = bench.store.aliases_file("buyer").read_text()
    message = failure_of(bench.train(buyer(), "07"))
    assert "manifest.json was written in format 9, this release of fti-assets reads format 1" in message
    assert bench.store.aliases_file("buyer").read_text() == before
    assert len(list((bench.store.root / "buyer" / "v1").iterdir())) == 1


@pytest.mark.parametrize(
    ("task", "shape", "asked"),
    [
        ("quantile", [4, 2], r"\[4, 3\], a column for each of data.levels"),
        ("quantile", [4], r"\[4, 3\], a column for each of data.levels"),
        ("multiclass", [4, 2], r"\[4, 3\], a column for each of data.classes"),
        ("multiclass", [4, 7], r"\[4, 3\], a column for each of data.classes"),
        ("binary", [4, 2], r"\[4\] or \[4, 1\]"),
        ("regression", [4, 0], r"\[4\] or \[4, 1\]"),
        ("ranking", [4, 2], r"\[4\] or \[4, 1\]"),
    ],
)
def test_outputs_of_another_task_are_named(task: Task, shape: list[int], asked: str) -> None:
    import torch

    y = torch.arange(4) % 3 if task == "multiclass" else torch.arange(4.0) % 2
    more: dict[str, Any] = {"quantile": {"levels": (0.1, 0.5, 0.9)}, "multiclass": {"classes": 3}}.get(task, {})
    for weight in (torch.ones(4), *([] if task == "ranking" else [None])):
        with pytest.raises(ModelError, match=rf"forward of Net gives .* for 4 rows, but a {task} model gives {asked}"):
            loss(task, torch.zeros(shape), y, weight, what="forward of Net", **more)
        right = torch.zeros([4, 3] if more else [4, 1])
        assert torch.isfinite(loss(task, right, y, weight, **more))


def test_an_output_that_is_no_tensor_is_named() -> None:
    import torch

    with pytest.raises(ModelError, match="the module gives tuple for 4 rows, but a binary model gives"):
        loss("binary", (torch.zeros(4),), torch.zeros(4))
