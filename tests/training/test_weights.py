"""What each train row counts: a sample undone, weights of classes, and how both reach what is trained."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import Column, ModelManifest, SampleRecord
from fti_assets.core.manifest.profiles import Profile
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.sampling.weights import row_weights, undoing
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.kinds.scales import FittedPassthrough
from fti_assets.training.judging.baselines.baseline import prior_of
from fti_assets.training.models.data import TrainingData

CODES = st.lists(st.integers(0, 3), min_size=1, max_size=20)
NAMES = ["0", "1", "2", "3"]


@given(CODES)
def test_balanced_weights_are_those_of_scikit_learn(codes: list[int]) -> None:
    weights = row_weights(np.array(codes), NAMES, None, fti.ClassWeights("balanced"), what="m")
    assert weights is not None
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", codes), rtol=1e-6)


@given(CODES, st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9), min_size=1), st.booleans())
def test_kept_rows_count_as_many_as_there_were(codes: list[int], more: dict[str, int], as_text: bool) -> None:
    kept = {name: codes.count(int(name)) for name in more if int(name) in codes}
    rows = {name: kept[name] + more[name] for name in kept}
    sample = SampleRecord("md5-52", 0, dict.fromkeys(kept, 0.5), rows, kept)
    labels = np.array([str(code) for code in codes], dtype=object) if as_text else np.array(codes, dtype=float)
    undo = undoing(labels, sample)
    assert undo is not None
    total = {name: undo[np.array(codes) == int(name)].sum() for name in NAMES}
    assert total == pytest.approx({name: rows.get(name, codes.count(int(name))) for name in NAMES})
    balanced = row_weights(np.array(codes), NAMES, undo, fti.ClassWeights("balanced"), what="m")
    assert balanced is not None
    sums = [balanced[np.array(codes) == code].sum() for code in set(codes)]
    assert sums == pytest.approx([len(codes) / len(set(codes))] * len(sums), rel=1e-5)
    alone = row_weights(np.array(codes), NAMES, undo, None, what="m")
    np.testing.assert_allclose(alone, undo / undo.mean(), rtol=1e-6)
    train: Any = SimpleNamespace(y=np.array(codes), undo=undo)
    assert prior_of("multiclass", 4, train) == pytest.approx([total[name] / sum(total.values()) for name in NAMES])


def test_share_of_all_rows_needs_no_weights() -> None:
    assert undoing(np.zeros(3), SampleRecord("md5-52", 0, {"": 0.1}, {"": 30}, {"": 3})) is None
    assert undoing(np.zeros(3), None) is None
    assert row_weights(np.zeros(3), NAMES, None, None, what="m") is None


def test_weights_that_cannot_be_are_refused() -> None:
    for classes in ("even", {"1": 0.0}, {"1": float("inf")}, {"1": -1.0}, {}):
        with pytest.raises(DeclarationError, match=r"ClassWeights|classes"):
            fti.ClassWeights(classes)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="m has a weight for the class 'late': its classes are '0'"):
        row_weights(np.zeros(3), NAMES, None, fti.ClassWeights({"late": 2.0}), what="m")
    for task, weights, result in (
        ("regression", "balanced", "has weights= for classes, and a regression model has none"),
        ("binary", {"late": 2.0}, "has a weight for the class 'late': a binary model's are '0' or '1'"),
    ):
        with pytest.raises(DeclarationError, match=result):
            declared(task=task, weights=fti.ClassWeights(weights))  # type: ignore[arg-type]


LOW, HIGH = np.float32([1 / 1.8, 3 / 1.8]).tolist()
"""What two of five rows that count three and the others that count one come to, if the mean is to be 1."""


def weighted(
    task: Any = "binary", rows: int = 70, classes: Sequence[float] = (0.0, 1.0, 1.0, 0.0, 0.0)
) -> TrainingData:
    """Rows whose feature is their number; a row of class 1 counts three."""
    columns = {"x": np.arange(rows, dtype=float)}
    labels = np.resize(classes, rows)
    return TrainingData(
        [Column("x", "number")],
        {"x": FittedPassthrough()},
        dict.fromkeys(SPLITS, columns),
        dict.fromkeys(SPLITS, labels),
        task=task,
        weights=fti.ClassWeights({"1": 3.0}),
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_batches_bring_the_weight_of_each_row(task: str, stream: bool) -> None:
    data = weighted(task)
    train, validation = data.loaders(16, stream=stream)
    observed = []
    for x, y, weight in train:
        assert weight.tolist() == [HIGH if one else LOW for one in y.tolist()]
        observed += x["dense"][:, 0].tolist()
    assert sorted(observed) == list(range(70))
    assert {one for _, _, weight in validation for one in weight.tolist()} == {1.0}
    (frame, y, weight), *_ = data.train.stream(30, seed=None).frames()
    assert (list(frame["x"]), weight.tolist()) == ([*range(30)], [HIGH if one else LOW for one in y])


def test_loss_is_the_mean_by_weight_as_torch_has_it() -> None:
    torch = pytest.importorskip("torch")
    logits, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 0, 1, 1, 2])
    of_class = torch.tensor([1.0, 5.0, 0.5])
    expected = torch.nn.functional.cross_entropy(logits, y, weight=of_class)
    weight = of_class[y] / of_class[y].mean()
    three = weighted("multiclass", classes=[0.0, 1.0, 2.0])
    assert three.loss(logits, y, weight).item() == pytest.approx(expected.item())
    binary = (y > 0).float()
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], binary, reduction="none")
    mean = float(np.average(each, weights=weight))
    assert weighted().loss(logits[:, :1], binary, weight).item() == pytest.approx(mean, rel=1e-6)
    ones = torch.ones(8)
    assert weighted().loss(logits[:, :1], binary, ones).item() == pytest.approx(
        weighted().loss(logits[:, :1], binary).item()
    )


def test_plain_module_is_fitted_by_weight() -> None:
    torch = pytest.importorskip("torch")

    class Constant(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.logit = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: Any) -> Any:
            return self.logit.expand(len(x["dense"]))

    data = weighted(rows=50)
    assert not data.train.took_weight
    data.fit(module := Constant(), epochs=1, batch_size=50)
    assert data.train.took_weight
    assert module.logit.item() > 0, "28 of 50 rows are of class 0, and those of class 1 count three"


# ---- from declaration to build

ROWS = 4_000
RNG = np.random.default_rng(3)
X = RNG.normal(size=ROWS)
RARE = pd.DataFrame({"id": range(ROWS), "x": X, "y": RNG.random(ROWS) < 1 / (1 + np.exp(3 - X))})


def declared(function: Any = None, *, task: Any = "binary", sample: Any = None, weights: Any = None) -> Any:
    def rare() -> pd.DataFrame:
        return RARE

    rare_rows = fti.feature_group(keys=["id"])(rare)
    view = fti.FeatureView(name="rare", spine=rare_rows, label=fti.Label(rare_rows["y"]), features=[rare_rows["x"]])
    dataset = fti.training_dataset(name="rare_rows", view=view, sample=sample)
    return fti.model(dataset=dataset, task=task, weights=weights, name="finder")(function or by_weight)


def by_weight(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y, sample_weight=data.train.weight)


def without(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y)


def built(model: Any) -> tuple[bool, list[ModelManifest]]:
    job = fti.build_definitions([model]).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
    return result.success, ModelStore(".fti/models").builds("finder")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FTI_HOME", raising=False)
    return tmp_path


@pytest.mark.soak
def test_probabilities_of_a_sample_stay_calibrated(home: Path) -> None:
    sample = fti.Sample(negatives=0.1)
    assert built(declared(by_weight, sample=sample))[0]
    (calibrated,) = ModelStore(".fti/models").builds("finder")
    assert calibrated.dataset.sample is not None
    kept, rows = calibrated.dataset.sample.kept["0"], calibrated.dataset.sample.rows["0"]
    assert kept < 0.2 * rows
    assert calibrated.warnings == ()
    success, builds = built(declared(without, sample=sample))
    assert success
    (skewed,) = [one for one in builds if one.build != calibrated.build]
    assert "never took data.train.weight, so its answers are of the sample's shares" in skewed.warnings[0]
    assert calibrated.metrics["log_loss"] < calibrated.baseline["log_loss"] < skewed.metrics["log_loss"]
    assert calibrated.baseline == skewed.baseline
    assert calibrated.baseline["log_loss"] < 0.4, "the prior is that of the world: some 7 % are of class 1"
    profile = (home / ".fti" / "models" / "finder" / "v1" / calibrated.build / "profile.json").read_text()
    reference = from_json(Profile, profile, what="profile")
    assert reference.label.categories["false"] == pytest.approx(rows), "it is of the rows before the sample"
    card = (home / ".fti" / "models" / "finder" / "v1" / calibrated.build / "card.md").read_text()
    assert f"- a sample of the train rows, by hash: {kept:,} of {rows:,} of class '0'" in card


def test_declared_weights_that_nobody_took_fail_the_run(home: Path) -> None:
    weights = fti.ClassWeights("balanced")
    assert built(declared(without, weights=weights)) == (False, [])
    tiny = RARE.head(200)
    with pytest.raises(ModelError, match="declares weights=.*and its function never took them: pass data.train.weight"):
        testing.train_tiny(declared(without, weights=weights), tiny)
    assert testing.train_tiny(declared(by_weight, weights=weights), tiny).data.train.is_weighted
    assert testing.train_tiny(declared(by_weight, sample=fti.Sample(negatives=0.1)), tiny).data.train.is_weighted


def test_weights_are_part_of_the_code_version() -> None:
    versions = [
        *declared().assets_def.code_versions_by_key.values(),
        *declared(weights=fti.ClassWeights("balanced")).assets_def.code_versions_by_key.values(),
        *declared(weights=fti.ClassWeights({"1": 2.0})).assets_def.code_versions_by_key.values(),
    ]
    assert len(set(versions)) == 3
