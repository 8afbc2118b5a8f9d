"""Search over declarations."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.describe.finding import Match
from fti_assets.errors import DeclarationError
from tests.on_demand import doubled


class StaySchema(pa.DataFrameModel):
    """A night at a hotel."""

    guest: int
    t: pd.Timestamp
    spend: float = pa.Field(description="What the Minibar cost.")


@fti.feature_group(
    keys=["guest"], event_time="t", schema=StaySchema, owners=["team:hotels"], tags={"domain": "lodging"},
    description="Each night at a hotel.",
)  # fmt: skip
def stays() -> pd.DataFrame: ...


@fti.feature_group(keys=["guest"], event_time="t", owners=["ann@example.org"])
def complaints(stays: fti.Table) -> fti.Table:
    """What guests of a hotel complained about, <b>loudly</b>."""
    return stays


view = fti.FeatureView(
    name="returning",
    spine=stays,
    label=fti.Label(complaints["came_back"], maturity="1d"),
    features=[stays["spend"], doubled, complaints["complaints_7d"]],
)
nights = fti.training_dataset(name="nights", view=view, split=fti.TimeSplit(validation="1d", test="1d"))


@fti.model(dataset=nights, task="binary", gates=[])
def hotel(data: fti.TrainingData) -> Any:
    return np.zeros(1)


answers = fti.batch_predictions(name="answers", model=hotel)


@dg.asset(description="A report on hotels.")
def report() -> None: ...


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return fti.build_definitions([answers], assets=[report])


def names(results: list[Match]) -> list[str]:
    return [one.name for one in results]


def test_hits_in_name_come_first_then_columns_tags_owners_and_descriptions(definitions: dg.Definitions) -> None:
    results = fti.search("hotel", definitions)
    assert names(results) == ["hotel_v1", "answers_v1", "stays_v1", "report", "complaints_v1"]
    assert [one.kind for one in results] == ["model", "batch predictions", "feature group", "asset", "feature group"]
    assert results[2] == Match(
        "feature group", "stays_v1", ("owner team:hotels", "description"), "Each night at a hotel.", ("team:hotels",)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MINIBAR", {"stays_v1": ("column spend",)}),
        ("lodging", {"stays_v1": ("tag domain=lodging",)}),
        ("ann@", {"complaints_v1": ("owner ann@example.org",)}),
        ("hotel complained", {"complaints_v1": ("description",)}),
        ("night lodging", {"stays_v1": ("tag domain=lodging", "description")}),
        ("double_spend", {"doubled_v1": ("column double_spend",), "returning_v1": ("column double_spend",),
                          "nights_v1": ("column double_spend",)}),
        ("returning complaints_7d", {"returning_v1": ("name", "column complaints_7d"),
                                     "nights_v1": ("column complaints_7d", "description")}),
        ("airport", {}),
    ],
)  # fmt: skip
def test_words_are_found_wherever_they_stand(definitions: dg.Definitions, text: str, expected: dict[str, Any]) -> None:
    assert {one.name: one.matched for one in fti.search(text, definitions)} == expected


def test_list_of_declarations_is_searched_with_what_it_rests_on(definitions: dg.Definitions) -> None:
    for text in ("hotel", "spend", "guest"):
        of_list = fti.search(text, [answers])
        assert [one for one in fti.search(text, definitions) if one.name != "report"] == of_list
    assert names(fti.search("spend", [view, doubled])) == ["stays_v1", "doubled_v1", "returning_v1"]


def test_results_are_readable_as_text_and_in_a_notebook(definitions: dg.Definitions) -> None:
    result = fti.search("complained", definitions)
    assert repr(result).splitlines() == [
        "kind           name           found in     owners           description",
        "feature group  complaints_v1  description  ann@example.org  "
        "What guests of a hotel complained about, <b>loudly</b>.",
    ]
    page = result._repr_html_()
    assert "<td>complaints_v1</td>" in page
    assert "&lt;b&gt;loudly" in page
    assert repr(fti.search("airport", definitions)) == "nothing was found"


def test_no_word_and_no_declaration_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeclarationError, match="search needs at least one word"):
        fti.search("  ", [stays])
    with pytest.raises(DeclarationError, match="3 is not a declaration: give feature groups, views"):
        fti.search("x", [3])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeclarationError, match=r"there is no file definitions.py.*, -f FILE or -m MODULE of fti$"):
        fti.search("x")


def test_the_command_searches_the_definitions_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = f"from {__name__} import answers\nimport fti_assets as fti\ndefs = fti.build_definitions([answers])\n"
    Path("definitions.py").write_text(source)
    Path("other.py").write_text(source)
    assert main(["search", "each", "lodging", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one == {
        "kind": "feature group", "name": "stays_v1", "matched": ["tag domain=lodging", "description"],
        "description": "Each night at a hotel.",
        "owners": ["team:hotels"],
    }  # fmt: skip
    assert main(["search", "airport", "-f", "other.py"]) == 0
    assert capsys.readouterr().out == "nothing was found\n"
    assert names(fti.search("minibar", "other.py")) == names(fti.search("minibar")) == ["stays_v1"]
