"""Validation and test rows that lie on disk: what is asked of them a block at a time is what is asked of all at once."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from fti_assets.core.manifest import Column
from fti_assets.errors import ExportError
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.kinds.scales import FittedPassthrough
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs import comparison_rows as compared
from fti_assets.training.models.graphs import export as exporting
from fti_assets.training.models.graphs.export import export
from fti_assets.training.trainer.parts import rows as stored_rows
from fti_assets.training.trainer.parts.rows import RowsInMemory, RowsOnDisk, rows_at, run_rows, write_rows
from tests.support.examples import examples
from tests.training.test_row_weights import built, by_weight, declared, home

__all__ = ["home"]

COLUMNS = [Column("x", "number"), Column("t", "text")]


def on_disk(folder: Path, rows: int) -> tuple[RowsOnDisk, dict[str, np.ndarray]]:
    texts = np.array([f"v{at % 5}" for at in range(rows)], dtype=object)
    columns = {"x": np.arange(rows, dtype=float), "t": texts}
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE made AS SELECT n::DOUBLE x, 'v' || n % 5 t FROM range(?) r(n)", [rows])
        return write_rows(folder / "rows.arrow", connection.sql("FROM made ORDER BY x"), COLUMNS), columns


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 200])
def test_blocks_together_are_the_rows(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rows, "BLOCK_ROWS", 64)
    stored, columns = on_disk(tmp_path, rows)
    sizes: list[int] = []

    def run(some: Any) -> dict[str, np.ndarray]:
        sizes.append(len(some["x"]))
        return {"y": some["x"] * 2, "t": some["t"]}

    outputs = run_rows(run, stored)
    assert outputs["y"].tolist() == (columns["x"] * 2).tolist()
    assert outputs["t"].tolist() == columns["t"].tolist()
    assert max(sizes) <= 64, "no more than a block is in memory"
    odd = columns["x"] % 2 == 1
    if odd.any():
        assert run_rows(run, stored, odd)["y"].tolist() == (columns["x"][odd] * 2).tolist()
    assert "x" in stored.columns
    assert "z" not in stored.columns


@given(st.integers(0, 40), st.sets(st.integers(0, 39)), st.sampled_from([3, 16, 64]))
@settings(max_examples=examples(40))
def test_some_rows_are_those_at_their_places(rows: int, places: set[int], block: int) -> None:
    own = np.array(sorted(at for at in places if at < rows), dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "BLOCK_ROWS", block)
        stored = RowsInMemory({"x": np.arange(rows, dtype=float)}, rows)
    assert rows_at(stored, own)["x"].tolist() == own.astype(float).tolist()


def linear(rows: int) -> tuple[TrainingData, Any]:
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=rows)}
    labels = 3 * columns["x"] + 1
    parts: Any = dict.fromkeys(SPLITS, columns)
    data = TrainingData(
        COLUMNS[:1], {"x": FittedPassthrough()}, parts, dict.fromkeys(SPLITS, labels), task="regression"
    )
    return data, LinearRegression().fit(np.nan_to_num(data.train.X), data.train.y)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rows, "BLOCK_ROWS", 64)
    monkeypatch.setattr(compared, "AT_ONCE", 100)


@pytest.mark.usefixtures("_small")
def test_every_test_row_is_compared_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data, model = linear(300)
    data = without_missing(data)
    exported = export(model, data.encoder, data, "regression")
    assert exported.comparison is not None
    assert exported.comparison.rows == 300
    late = float(data.test.columns["x"][250])
    core_of = exporting.core_of

    def mistaken(*arguments: Any) -> Any:
        core = core_of(*arguments)
        right = core.predict
        object.__setattr__(core, "predict", lambda rows: right(rows) + (rows["dense"][:, 0] == np.float32(late)))
        return core

    monkeypatch.setattr(exporting, "core_of", mistaken)
    with pytest.raises(ExportError, match=f"on 1 of .* rows, by up to .*'x': {late}"):
        export(model, data.encoder, data, "regression")


def without_missing(data: TrainingData) -> TrainingData:
    """The same with an encoder that fills what is missing, as the model of it has to."""
    from fti_assets.training.encoders.kinds.scales import FittedStandardize

    parts: Any = {name: dict(getattr(data, name).columns) for name in SPLITS}
    labels = {name: getattr(data, name).y for name in SPLITS}
    return TrainingData(COLUMNS[:1], {"x": FittedStandardize(0.0, 1.0)}, parts, labels, task="regression")


def test_outliers_of_all_blocks_are_counted_together() -> None:
    from fti_assets.core.manifest import GraphComparison
    from fti_assets.training.models.graphs.comparison_rows import ComparisonRows
    from fti_assets.training.models.graphs.parity import check_further

    data = without_missing(linear(50)[0])
    exported = export(LinearRegression().fit(data.train.X, data.train.y), data.encoder, data, "regression")
    rows = ComparisonRows(dict(data.test.columns), ("",) * 50, 50)
    answers = (3 * data.test.columns["x"] + 1).astype(np.float64)
    answers[7] += 0.05 * max(1.0, abs(answers[7]))
    before = GraphComparison(model="m", rows=1_950, largest_difference=0.0, outliers=0, tolerance=1e-4, allowed=1)
    together = check_further(exported, rows, answers, before, advice="Look", outliers=1e-3)
    assert (together.rows, together.outliers, together.allowed) == (2_000, 1, 2)
    with pytest.raises(ExportError, match=r"on 4 of 2000 rows of the test part by more than 0.0001, where 0.1% may"):
        check_further(
            exported, rows, answers, GraphComparison("m", 1_950, 0.0, 3, 1e-4, 1), advice="Look", outliers=1e-3
        )


@pytest.mark.soak
def test_no_part_of_a_build_is_in_memory(home: Path) -> None:
    kinds: set[type] = set()

    def noting(data: Any) -> Any:
        kinds.update(type(getattr(data, name).stored._rows) for name in SPLITS)
        return by_weight(data)

    built(declared(noting))
    assert kinds == {RowsOnDisk}
