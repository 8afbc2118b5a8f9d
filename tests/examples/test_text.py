"""Texts: the declarations on a few rows, tokens and vectors that are the same online as offline, and an encoder that learns."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import fti_assets as fti
from examples.text import demo, encoder, on_demand, system
from examples.text.on_demand import LENGTH, WORDS, tokens
from examples.text.outcome import draw, figures, found_by
from examples.text.records import FILE
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.core.manifest import OnDemandPackage
from fti_assets.errors import PredictionError
from fti_assets.stores.models.loaded_build import load_build

WIDTH = system.WIDTH
PIECES = WORDS.split("\n")


def small_weights(width: int = WIDTH, layers: int = 1, wide: int = 32) -> encoder.Weights:
    """An encoder of the same form as the published one, with weights made by chance."""
    chance = torch.Generator().manual_seed(0)

    def made(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance) * 0.05

    tables = {"word": len(PIECES), "position": 64, "token_type": 2}
    found = {f"embeddings.{name}_embeddings.weight": made(rows, width) for name, rows in tables.items()}
    shapes = {"intermediate.dense": (wide, width), "output.dense": (width, wide)}
    for at in (
        "embeddings.LayerNorm",
        *(f"encoder.layer.{n}.{part}" for n in range(layers) for part in encoder._PARTS.values()),
    ):
        shape = shapes.get(at.split(".", 3)[-1], (width, width))
        is_norm = at.endswith("LayerNorm")
        found[f"{at}.weight"] = torch.ones(width) if is_norm else made(*shape)
        found[f"{at}.bias"] = made(width if is_norm else shape[0])
    return found


def test_the_declarations_are_at_most_150_lines() -> None:
    files = [Path(str(module.__file__)) for module in (system, on_demand)]
    assert sum(bool(line.strip()) for file in files for line in file.read_text().splitlines()) <= 150


def test_the_file_has_reports_of_real_days() -> None:
    rows = pd.read_parquet(FILE)
    assert (len(rows), rows["report_id"].is_unique) == (3086, True)
    assert (rows["struck_on"].min(), rows["struck_on"].max()) == (
        pd.Timestamp("1996-10-01"),
        pd.Timestamp("1997-12-31"),
    )
    assert (rows["effect"] != "").sum() == 374


def test_tokens_are_berts() -> None:
    assert (len(PIECES), PIECES[0], PIECES[101], PIECES[102], PIECES[2053]) == (30522, "[PAD]", "[CLS]", "[SEP]", "no")
    texts = np.array(["NO DAMAGE.", "", "ENGINE\tvibrationless", "bird " * 40], dtype=object)
    found = tokens(remarks=texts)["tokens"]
    assert found.shape == (4, LENGTH)
    told = [[PIECES[int(one)] for one in row if one] for row in found]
    assert told[0] == ["[CLS]", "no", "damage", ".", "[SEP]"]
    assert told[1] == ["[CLS]", "[SEP]"]
    assert told[2] == ["[CLS]", "engine", "vibration", "##less", "[SEP]"]
    assert told[3] == ["[CLS]", *["bird"] * (LENGTH - 2), "[SEP]"]
    alone = [tokens(remarks=texts[place : place + 1])["tokens"][0] for place in range(4)]
    np.testing.assert_array_equal(found, alone)


def test_a_missing_text_has_no_tokens() -> None:
    found = tokens(remarks=np.array(["", None, "NO DAMAGE."], dtype=object))["tokens"]
    assert found[:, :3].tolist() == [[101, 102, 0], [0, 0, 0], [101, 2053, 4053]]


def test_tensors_of_a_safetensors_file() -> None:
    head = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}
    head["b"] = {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]}
    text = json.dumps(head).encode()
    content = len(text).to_bytes(8, "little") + text + np.float32([1, 2]).tobytes() + np.int64([3]).tobytes()
    assert {name: one.tolist() for name, one in encoder.tensors(content).items()} == {"a": [[1.0], [2.0]], "b": [3]}


@pytest.mark.soak
def test_an_adapter_changes_nothing_before_it_has_learned() -> None:
    found = small_weights(width=32, layers=3)
    codes = tokens(remarks=np.array(["NO DAMAGE", "ENG SHUT DOWN"], dtype=object))["tokens"]
    module = encoder.Reader(found)
    plain = encoder.Encoder(found)(torch.from_numpy(codes).long())
    torch.testing.assert_close(module.encoder(torch.from_numpy(codes).long()), plain)
    trainable = [name for name, one in module.named_parameters() if one.requires_grad and "layers" in name]
    learned = {".".join(name.split(".")[1:3]) for name in trainable}
    assert learned == {"layers.1", "layers.2"}
    assert module({"dense": torch.zeros(1, LENGTH)}).isfinite().all()  # a text that is missing
    assert module({"dense": torch.full((1, LENGTH), 1e9)}).isfinite().all()


def test_texts_of_one_length_go_together_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "weights", lambda: small_weights(width=32))
    codes = tokens(remarks=np.array(["A B C D", "BIRD", "NO DAMAGE", ""], dtype=object))["tokens"]
    together = encoder.embed(codes, batch=2)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(together, np.concatenate([encoder.embed(row[None]) for row in codes]), atol=1e-6)


@pytest.mark.skipif(
    find_spec(encoder.PACKAGE) is None, reason="the package of 83 MB is not here: make text installs it"
)
def test_the_published_weights_know_what_is_alike() -> None:
    texts = ["the engine was shut down", "the pilot turned the engine off", "a sparrow sat in a tree"]
    first, second, third = encoder.embed(tokens(remarks=np.array(texts, dtype=object))["tokens"])
    assert first @ second > 0.5 > first @ third


def test_how_many_are_found() -> None:
    affected, answers = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.3, 0.1])
    assert found_by(affected, answers).tolist() == [0, 0.5, 0.5, 1, 1]
    assert figures(affected, answers)["roc_auc"] == 0.75


def test_the_picture_has_a_line_for_each(tmp_path: Path) -> None:
    draw(tmp_path / "a.svg", {"frozen encoder": np.array([0, 0.5, 1.0]), "tuned encoder": np.array([0, 1.0, 1.0])})
    assert (tmp_path / "a.svg").read_text().count("<polyline") == 3


def some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the reports, and an encoder that is made by chance."""
    monkeypatch.setattr(encoder, "weights", small_weights)
    read = pd.read_parquet
    monkeypatch.setattr(pd, "read_parquet", lambda *options, **more: read(*options, **more).iloc[::10])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Any:
    stores = testing.stores_in(tmp_path_factory.mktemp("text"))
    with pytest.MonkeyPatch.context() as patch:
        some_rows(patch)
        groups = [system.strikes, system.effects, system.sentences]
        testing.materialize(*groups, stores=stores, partition=(demo.FIRST, demo.LAST), now=demo.NOW)
        testing.materialize(
            system.rows_looked_up, system.rows_as_read, stores=stores, partition=demo.CUTOFF, now=demo.NOW
        )
        models = [system.reader_frozen, system.reader_tuned]  # which may be turned down: of chance nothing is known
        testing.materialize(*models, stores=stores, partition=demo.CUTOFF, now=demo.NOW, raise_on_error=False)
    return stores


def build_of(version: int, stores: fti.Stores) -> str:
    return next(one.reference for one in stores.model_store().builds("reader") if one.version == version)


def requests(stores: fti.Stores) -> list[dict[str, Any]]:
    rows = fti.read(system.strikes, partitions=["1997-11-01"], stores=stores).head(20)
    return [{"report_id": int(one.report_id), "remarks": one.remarks} for one in rows.itertuples()]


def test_both_models_answer_online_as_offline(stores: fti.Stores) -> None:
    asked, at = requests(stores), demo.NOW
    for version, view in ((1, system.looked_up), (2, system.as_read)):
        fields = ["report_id"] if version == 1 else ["report_id", "remarks"]
        of_view = [{name: one[name] for name in fields} for one in asked]
        build = build_of(version, stores)
        with (
            clock.at(at),
            fti.Predictor.load("reader", build=build, models=stores.models, online=stores.online) as predictor,
        ):
            answers = predictor.predict(of_view, at=at)
            one = predictor.predict(of_view[0], at=at)
        offline = view.features_for(of_view, at=at, stores=stores)
        [name] = view.feature_names
        for answer, row in zip(answers, offline, strict=True):
            np.testing.assert_array_equal(np.float32(answer.features[name]), np.float32(row[name]))
        np.testing.assert_array_equal(np.float32(one.features[name]), np.float32(offline[0][name]))
        assert one.value == pytest.approx(answers[0].value, abs=1e-5)


def test_a_vector_lies_in_the_lake_as_in_the_online_store(stores: fti.Stores) -> None:
    rows = fti.read(system.sentences, stores=stores).set_index("report_id")["sentence"]
    assert len(rows) > 300
    assert set(rows.map(len)) == {WIDTH}
    build = build_of(1, stores)
    asked = [{"report_id": one["report_id"]} for one in requests(stores)[:5]]
    with (
        clock.at(demo.NOW),
        fti.Predictor.load("reader", build=build, models=stores.models, online=stores.online) as served,
    ):
        for request, answer in zip(asked, served.predict(asked, at=demo.NOW), strict=True):
            np.testing.assert_array_equal(
                np.float32(answer.features["sentence"]), np.float32(rows[request["report_id"]])
            )


def test_the_build_says_which_tokenizers_it_learned_with_and_loads_with_no_other(
    stores: fti.Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = build_of(2, stores)
    manifest = load_build(stores.model_store(), "reader", build)[0]
    (call,) = manifest.view.on_demand
    (package,) = call.requires
    assert (package.package, package.distribution) == ("tokenizers", "tokenizers")
    assert [one.name for one in manifest.inputs] == ["vector.tokens"]  # the encoder lies in the graph
    real = "importlib.metadata.version"
    monkeypatch.setattr(real, lambda name: "0.1" if name == "tokenizers" else package.version)
    with pytest.raises(
        PredictionError, match=f"needs tokenizers {package.version}, with which the model learned, and tokenizers 0.1"
    ):
        fti.Predictor.load("reader", build=build, models=stores.models, online=stores.online)
    assert isinstance(package, OnDemandPackage)
