"""A vector that an on-demand function makes: the same numbers in datasets, batches, requests and checks, and what may not be one."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.core.manifest import OnDemandVector
from fti_assets.core.types.vectors import vectors
from fti_assets.errors import DeclarationError, RequestError
from fti_assets.monitoring.parity import feature_differences
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.training.datasets.asset import _view_terms
from tests.on_demand import first_of, spelled

NOW, AT = "2013-03-01T00:00:00", "2013-02-20T00:00:00"
WORDS = ["cat", "zebra", "a-b", "", "kangaroo", "dog", "yak", "bee"] * 20


class Note(pa.DataFrameModel):
    note_id: int
    written_at: pd.Timestamp
    word: str


@fti.feature_group(keys=["note_id"], event_time="written_at", schema=Note)
def notes() -> pd.DataFrame:
    times = pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(len(WORDS)), unit="h")
    return pd.DataFrame({"note_id": range(len(WORDS)), "written_at": times, "word": WORDS})


class Verdict(pa.DataFrameModel):
    note_id: int
    judged_at: pd.Timestamp
    liked: bool


@fti.feature_group(keys=["note_id"], event_time="judged_at", schema=Verdict)
def verdicts() -> pd.DataFrame:
    times = pd.Timestamp("2013-01-01T00:30") + pd.to_timedelta(np.arange(len(WORDS)), unit="h")
    return pd.DataFrame({"note_id": range(len(WORDS)), "judged_at": times, "liked": [word[:1] < "d" for word in WORDS]})


TERMS: dict[str, Any] = {"spine": notes, "label": fti.Label(verdicts["liked"], maturity="1h")}
VIEW = fti.FeatureView(name="spelling", features=[spelled], **TERMS)
DATASET = fti.training_dataset(name="spelling", view=VIEW, split=fti.TimeSplit(validation=0.2, test=0.2))


@fti.model(dataset=DATASET, task="binary")
def liking(data: fti.TrainingData) -> LogisticRegression:
    assert data.encoder.dense_columns == (*(f"letters:{place}" for place in range(5)), "letters:missing", "length")
    return LogisticRegression().fit(data.train.X, data.train.y)


ANSWERS = fti.batch_predictions(name="spelling_answers", model=liking)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    stores = testing.stores_in(tmp_path_factory.mktemp("spelling"))
    testing.materialize(notes, verdicts, DATASET, liking, ANSWERS, stores=stores, now=NOW)
    return stores


def letters_of(word: str) -> list[float]:
    """Written otherwise than the function is."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        np.nan
        if place < len(word) and word[place] not in letters
        else letters.find(word[place : place + 1] or "?") + 1.0
        if place < len(word)
        else np.nan
        for place in range(5)
    ]


def test_datasets_batches_and_requests_have_the_same_vectors(stores: fti.Stores) -> None:
    rows = fti.read(DATASET, stores=stores).set_index("note_id")
    for note_id, row in rows.iterrows():
        np.testing.assert_array_equal(np.asarray(row["letters"], dtype=float), letters_of(WORDS[note_id]))
    manifest, graph = load_build(stores.model_store(), "liking", stores.model_store().champion("liking").reference)
    assert manifest.view.on_demand[0].vectors == (OnDemandVector("letters", 5),)
    assert {one.name: one.dim for one in manifest.inputs} == {"vector.letters": 5, "numbers": None}
    lengths = np.array([float(len(word)) for word in WORDS])
    expected = graph.run({"letters": vectors([letters_of(word) for word in WORDS]), "length": lengths})["probability"]
    answers = fti.read(ANSWERS, stores=stores).sort_values("note_id")["probability"].to_numpy()
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    with fti.Predictor.load("liking", models=stores.models, online=stores.online) as predictor:
        requests = [{"note_id": place, "word": word} for place, word in enumerate(WORDS[:8])]
        for request, answer, value in zip(requests, predictor.predict(requests, at=AT), expected, strict=False):
            alone = predictor.predict(request, at=AT)
            assert answer.value == pytest.approx(value, abs=1e-6)
            assert alone.value == pytest.approx(value, abs=1e-6)
            assert alone.features == answer.features
            assert alone.features["letters"] == [None if one != one else one for one in letters_of(request["word"])]
        columns = {"note_id": np.arange(8), "word": np.array(WORDS[:8], dtype=object)}
        np.testing.assert_allclose(predictor.predict_columns(columns, at=AT).values, expected[:8], atol=1e-6)
        own = predictor.predict(requests[0], at=AT, overrides={"letters": [1, 2, 3, 4, None]})
        assert own.features["letters"] == [1.0, 2.0, 3.0, 4.0, None]
        with pytest.raises(RequestError, match="it has 1 numbers, 5 are expected"):
            predictor.predict(requests[0], at=AT, overrides={"letters": [0.0]})


def test_parity_and_the_leak_test_compare_them(stores: fti.Stores) -> None:
    with clock.at(NOW):
        assert testing.assert_parity(liking, stores=stores, sample=16).features == ("letters", "length")
        testing.assert_no_leak(VIEW, stores=stores, sample=8)
    store = stores.model_store()
    view = load_build(store, "liking", store.champion("liking").reference)[0].view
    row: dict[str, Any] = {"letters": [1.0, None, 3.0, 0.0, 0.0], "length": 3}
    for other, differs in (
        ([1.0, None, 3.0, 0.0, 0.0], False),
        ([1.0 + 1e-8, None, 3.0, 0.0, 0.0], False),
        ([1.0, 2.0, 3.0, 0.0, 0.0], True),
        ([1.0, None, 3.0, 0.0], True),
        (None, True),
    ):
        assert bool(list(feature_differences(view, row, row | {"letters": other}))) == differs


def test_a_vector_declares_its_own_encoder() -> None:
    assert VIEW.encoders == {"letters": fti.Vector(dim=5, flag=True)}
    own = fti.FeatureView(name="v", features=[spelled], encoders={"letters": fti.Vector(dim=5)}, **TERMS)
    assert own.encoders == {"letters": fti.Vector(dim=5)}
    with pytest.raises(
        DeclarationError, match=r"Vector\(dim=4\), but the on-demand feature 'spelled' declares 5 numbers"
    ):
        fti.FeatureView(name="v", features=[spelled], encoders={"letters": fti.Vector(dim=4)}, **TERMS)
    with pytest.raises(DeclarationError, match="'first_of' of view 'v' takes 'letters', a vector"):
        fti.FeatureView(name="v", features=[spelled, first_of], **TERMS)


def test_another_length_is_another_dataset() -> None:
    @fti.on_demand(outputs={"letters": fti.Vector(dim=6, flag=True), "length": int}, name="spelled")
    def longer(word: np.ndarray) -> Any: ...

    other = object.__new__(fti.FeatureView)
    vars(other).update(vars(VIEW) | {"features": [longer]})
    assert _view_terms(other) != _view_terms(VIEW)


def test_a_frame_of_a_test_has_the_vectors_of_the_function(tmp_path: Path) -> None:
    made = testing.train_tiny(liking, testing.tiny_dataset(liking, rows=30).assign(word="cat"))
    assert made.outputs.shape[0] > 0
