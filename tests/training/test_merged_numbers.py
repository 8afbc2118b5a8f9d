"""Stored numbers that float64 merges: a model's build tells how many different ones there were."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dagster import Failure
from sklearn.ensemble import HistGradientBoostingClassifier

import fti_assets as fti
from fti_assets.errors import FtiError
from fti_assets.stores.models.store import ModelStore
from fti_assets.testing import materialize, stores_in

ROWS = 40


def warnings_of(folder: Path, columns: dict[str, tuple[list[Any], Any]]) -> dict[str, str]:
    """What a build warns of each column, by its values and encoder, of so many different values in its train part."""

    @fti.feature_group(name="people", keys=["id"])
    def people() -> pd.DataFrame:
        values = {name: pd.Series(values, dtype=object) for name, (values, _) in columns.items()}
        return pd.DataFrame({"id": range(ROWS), **values, "y": np.arange(ROWS) % 2})

    observed: list[int] = []

    def train(data: fti.TrainingData) -> Any:
        observed.append(len(data.train.y))
        return HistGradientBoostingClassifier(max_iter=2).fit(data.train.X, data.train.y)

    view = fti.FeatureView(name="v", spine=people, label=fti.Label(people["y"]), features=[people[tuple(columns)]])
    encoders = {name: encoder for name, (_, encoder) in columns.items()}
    model = fti.model(name="m", dataset=view, task="binary", encoders=encoders)(train)
    stores = stores_in(str(folder))
    done = materialize(people, model.dataset, model, stores=stores)
    (path,) = (folder / "models").glob("m/v1/*/manifest.json")
    manifest = ModelStore(str(folder / "models")).manifest("m", f"v1/{path.parent.name}")
    card = (path.parent / "card.md").read_text()
    assert all(one in card for one in manifest.warnings)
    result = {name: text for name, text in done.failed_checks.items() if name.startswith("m_v1/")}
    assert result == {"m_v1/numbers_kept_apart": f"{manifest.reference}: {'; '.join(manifest.warnings)}"}
    warnings = [one.replace(f"has {observed[0]} different", "has ALL different") for one in manifest.warnings]
    return {one.split("'")[1]: one for one in warnings}


MERGED = {
    "sixty": [2**60 + n for n in range(ROWS)],
    "fifty_three": [2**53 + n for n in range(ROWS)],
    "decimal": [Decimal(2**60 + n) + Decimal("0.25") for n in range(ROWS)],
}
ENCODERS = {"float64": fti.Standardize(dtype="float64"), "float32": fti.Standardize(), "passed": fti.Passthrough()}


def test_numbers_that_float64_or_float32_merges_are_told_of_and_no_others(tmp_path: Path) -> None:
    merged = {
        f"{name}_{kind}": (values, encoder) for name, values in MERGED.items() for kind, encoder in ENCODERS.items()
    }
    of_float32 = {"twenty_four": ([2**24 + n for n in range(ROWS)], fti.Standardize())}
    kept = {"kept": ([2**60 + 2**50 * n for n in range(ROWS)], fti.Standardize(dtype="float64"))}
    warnings = warnings_of(tmp_path, {**merged, **of_float32, **kept})
    assert set(warnings) == {*merged, *of_float32}
    for name in merged:
        assert warnings[name].startswith(f"'{name}' has ALL different values in train, of which ")
        assert "Store it as text and give it fti.Embedding() or fti.OneHot()" in warnings[name]
        assert "Standardize" not in warnings[name]
    assert warnings["twenty_four"].startswith("'twenty_four' has ALL different values in train, of which ")
    assert "give it encoders={'twenty_four': fti.Standardize(dtype='float64')}" in warnings["twenty_four"]


def test_refused_category_is_one_that_is_stored(tmp_path: Path) -> None:
    values = [2**63 - 1 - n % 2 for n in range(ROWS)]
    with pytest.raises((FtiError, Failure)) as error:
        warnings_of(tmp_path, {"c": (values, fti.OneHot())})
    result = str(getattr(error.value, "description", None) or error.value)
    assert "has categories such as 9223372036854775807: " in result
    assert "Standardize" not in result
