"""``fti run``: a step that another orchestrator calls, its output and its exit codes."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.cli import main
from tests.support.instances import dagster_home

SYSTEM = """
    import os
    import signal

    import dagster as dg
    import numpy as np
    import pandas as pd
    import pandera.pandas as pa
    from sklearn.linear_model import LogisticRegression

    import fti_assets as fti

    days = dg.DailyPartitionsDefinition(start_date="2025-03-01", end_date="2025-03-10")
    calls = []

    class Sales(pa.DataFrameModel):
        shop: int
        sold_at: pd.Timestamp
        amount: float = pa.Field(ge=0)
        rebate: float = pa.Field(le=2, raise_warning=True)

    class Loading(dg.Config):
        factor: float = 1.0

    @fti.feature_group(keys=["shop"], event_time="sold_at", schema=Sales, partitions_def=days)
    def sales(context: dg.AssetExecutionContext, config: Loading) -> pd.DataFrame:
        calls.append(list(context.partition_keys))
        if "2025-03-09" in context.partition_keys:
            print("sales are read")
        if "2025-03-05" in context.partition_keys:
            raise ConnectionError("the till does not answer")
        if "2025-03-06" in context.partition_keys:
            os.kill(os.getpid(), signal.SIGTERM)
        return pd.DataFrame(
            {
                "shop": 1,
                "sold_at": [pd.Timestamp(key) for key in context.partition_keys],
                "amount": [-1.0 if key == "2025-03-04" else config.factor for key in context.partition_keys],
                "rebate": [3.0 if key == "2025-03-03" else 1.0 for key in context.partition_keys],
            }
        )

    @fti.feature_group(
        keys=["shop"], event_time="sold_at", partitions_def=days, backfill_policy=dg.BackfillPolicy.multi_run(1)
    )
    def apart(context: dg.AssetExecutionContext) -> pd.DataFrame:
        calls.append([context.partition_key])
        return pd.DataFrame({"shop": [1], "sold_at": pd.Timestamp(context.partition_key)})

    @fti.feature_group(keys=["shop"])
    def shops() -> pd.DataFrame:
        return pd.DataFrame({"shop": range(60), "size": np.arange(60) * 1.0, "good": np.arange(60) % 2})

    class Naming(dg.Config):
        in_words: bool = False

    @fti.feature_group(keys=["shop"])
    def floors(config: Naming) -> pd.DataFrame:
        return pd.DataFrame({"shop": [1], "floor": ["first" if config.in_words else 1]})

    @fti.feature_group(name="shops", version=2, keys=["shop"])
    def new_shops() -> pd.DataFrame: ...

    view = fti.FeatureView(name="goodness", spine=shops, label=fti.Label(shops["good"]), features=[shops["size"]])

    def declared(name: str, **options: object) -> object:
        @fti.model(dataset=view, name=name, task="binary", gates=[fti.MetricBounds("roc_auc", at_least=0.999)], **options)
        def train(data: fti.TrainingData) -> LogisticRegression:
            return LogisticRegression().fit(data.train.X, data.train.y)

        return train

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["north", "south"]), deps=[dg.AssetKey("elsewhere")])
    def regions() -> None: ...

    models = [declared("strict"), declared("lenient", gates_fail_run=False)]
    defs = fti.build_definitions([sales, apart, floors, new_shops, *models], assets=[regions, dg.AssetSpec("elsewhere")])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system in a file, and where it keeps what it makes."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "definitions.py").write_text(textwrap.dedent(SYSTEM))
    return folder


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FTI_HOME", str(folder / ".fti"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["run", *words])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


def test_a_partition_is_materialized_and_told_in_a_line(run: Any) -> None:
    code, out, _ = run("sales", "--partition", "2025-03-01")
    assert code == 0
    assert out.startswith("sales_v1 2025-03-01  partition row count 1, snapshot ")
    assert fti.read("sales_v1")["amount"].tolist() == [1.0]


def test_a_range_is_one_run_and_told_for_machines(run: Any) -> None:
    code, out, err = run("sales_v1", "--from", "2025-03-01", "--to", "2025-03-03", "--json")
    messages = json.loads(out)
    assert (code, messages["exit_code"], messages["status"], err) == (0, 0, "materialized", "")
    assert messages["assets"] == ["sales_v1"]
    assert (
        messages["partitions"]
        == ["2025-03-01", "2025-03-02", "2025-03-03"]
        == [one["partition"] for one in messages["materialized"]]
    )
    assert len(messages["runs"]) == 1
    [warning] = [one for one in messages["checks"] if not one["passed"]]
    assert (warning["check"], warning["blocking"]) == ("rebate_less_than_or_equal_to", False)


def test_a_warning_is_told_and_fails_nothing(run: Any) -> None:
    code, out, _ = run("sales", "--partition", "2025-03-03")
    assert code == 0
    assert (
        "warning: sales_v1 rebate_less_than_or_equal_to: rebate: less_than_or_equal_to(2): 1 of 1 rows break it" in out
    )


def test_partitions_that_are_to_be_run_apart_are(run: Any) -> None:
    code, out, _ = run("apart", "--from", "2025-03-01", "--to", "2025-03-02", "--json")
    assert code == 0
    assert len(json.loads(out)["runs"]) == 2


def test_a_blocking_check_has_an_exit_code_of_its_own(run: Any) -> None:
    code, out, err = run("sales", "--partition", "2025-03-04", "--log-level", "critical")
    assert (code, out) == (3, "")
    assert err.startswith(
        "fti: sales_v1 2025-03-04 was refused by 'amount_greater_than_or_equal_to': sales_v1: nothing was stored, because amount: "
    )


def test_what_needs_a_new_version_is_refused_since_trying_again_cannot_help(run: Any, folder: Path) -> None:
    assert run("floors")[0] == 0
    (folder / "words.yaml").write_text("ops: {floors_v1: {config: {in_words: true}}}")
    code, out, err = run("floors", "-c", "words.yaml", "--log-level", "critical")
    assert (code, out) == (3, "")
    assert err.startswith("fti: floors_v1 was refused: fti_assets.errors.SchemaChangedError: ")
    assert "version=2" in err


def test_an_error_names_the_asset_the_partition_and_its_cause(run: Any) -> None:
    code, _, err = run("sales", "--partition", "2025-03-05", "--log-level", "critical")
    assert (code, err) == (1, "fti: sales_v1 2025-03-05 failed: ConnectionError: the till does not answer\n")
    code, out, _ = run("sales", "--partition", "2025-03-05", "--json", "--log-level", "critical")
    assert (json.loads(out)["status"], json.loads(out)["errors"]) == (
        "failed",
        ["ConnectionError: the till does not answer"],
    )


def test_output_for_machines_is_one_object_whatever_happens(run: Any) -> None:
    code, out, err = run("sales", "--partition", "2025-03-09", "--json")
    assert (code, json.loads(out)["status"], "sales are read" in err) == (0, "materialized", True)
    for asset, key, named in (("nosuch", "2025-03-01", "nosuch"), ("sales", "2031-01-01", "2031-01-01")):
        code, out, err = run(asset, "--partition", key, "--json")
        plain = json.loads(out)
        assert (code, plain["exit_code"], plain["status"], plain["assets"]) == (2, 2, "not run", [asset])
        assert named in plain["errors"][0]
        assert plain["errors"][0] in err
    code, out, _ = run("sales", "--partition", "2025-03-01", "--json", "-f", "absent.py")
    assert (code, json.loads(out)["exit_code"], json.loads(out)["status"]) == (1, 1, "failed")


def test_a_gate_refuses_and_a_gate_that_fails_no_run_withholds(run: Any) -> None:
    code, out, err = run("shops_v1", "goodness_dataset", "strict", "--log-level", "critical")
    assert code == 3
    assert [line.split("  ")[0] for line in out.splitlines()] == ["shops_v1", "goodness_dataset_v1"]
    assert "shops_v1, goodness_dataset_v1, strict_v1 was refused by 'bounds_of_roc_auc': strict v1/" in err
    code, out, err = run("lenient", "--log-level", "critical")
    assert code == 4
    assert out.startswith("warning: lenient_v1 bounds_of_roc_auc: v1/")
    assert err.startswith(
        "fti: the run succeeded, but 'lenient_v1' is not materialized, because of bounds_of_roc_auc: v1/"
    )


def test_assets_with_and_without_partitions_are_one_run(run: Any) -> None:
    code, out, _ = run("shops_v1", "sales", "--partition", "2025-03-01", "--json")
    messages = json.loads(out)
    assert (code, len(messages["runs"])) == (0, 1)
    assert {(one["asset"], one["partition"]) for one in messages["materialized"]} == {
        ("shops_v1", None),
        ("sales_v1", "2025-03-01"),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sale"], "the definitions have no asset 'sale': they make 'apart_v1', .* or 'strict_v1'"),
        (["shops"], "several versions of 'shops': write 'shops_v1' or 'shops_v2'"),
        (["elsewhere"], "elsewhere is made in another code location, or observed, and cannot be run from here"),
        (["sales"], "sales_v1 is partitioned, '2025-03-01' to '2025-03-09': name one, --partition KEY, or a range"),
        (["sales", "--partition", "2025-04-01"], "sales_v1 has no partition '2025-04-01': it has '2025-03-01' to '2025-03-09'"),
        (["sales", "--from", "2025-03-01"], "a range needs both --from and --to"),
        (["sales", "--from", "2025-03-02", "--to", "2025-03-01"], "no partition from '2025-03-02' to '2025-03-01': --from is the earlier"),
        (["sales", "--from", "2025-03-02", "--partition", "2025-03-02"], "give one or the other"),
        (["shops_v1", "--partition", "2025-03-01"], "'shops_v1' has no partitions: leave out --partition"),
        (["sales", "regions", "--partition", "2025-03-01"], "'sales_v1' and 'regions' have different partitions: run each by itself"),
        (["sales", "--partition", "2025-03-01", "-c", "nowhere.yaml"], "the config nowhere.yaml cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_as_a_wrong_command_line(words: list[str], said: str, run: Any) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert re.search(said, err), err


def test_definitions_that_cannot_be_loaded_fail(run: Any, folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_module")
    code, _, err = run("sales", "-f", "broken.py")
    assert (code, err) == (
        1,
        "fti: broken.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'\n",
    )


def test_a_run_has_the_config_of_a_file(run: Any, folder: Path) -> None:
    (folder / "run.yaml").write_text("ops: {sales_v1: {config: {factor: 7}}}")
    assert run("sales", "--partition", "2025-03-02", "-c", "run.yaml")[0] == 0
    assert fti.read("sales_v1", partitions=["2025-03-02"])["amount"].tolist() == [7.0]


def test_events_go_to_the_instance_of_dagster_home(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path / "home")))
    assert run("sales", "--partition", "2025-03-02")[0] == 0
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("sales_v1")) == {"2025-03-02"}
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    code, _, err = run("sales", "--partition", "2025-03-02")
    assert code == 2
    assert "make that folder and name it whole, or unset DAGSTER_HOME" in err


def test_a_task_that_is_stopped_is_recorded_as_failed(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path / "home")))
    code, _, err = run("sales", "--partition", "2025-03-06", "--log-level", "critical")
    assert (code, err) == (130, "fti: sales_v1 2025-03-06 was stopped; what it had stored before is whole\n")
    with dg.DagsterInstance.get() as instance:
        [record] = instance.get_runs()
        assert record.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
        assert instance.get_materialized_partitions(dg.AssetKey("sales_v1")) == set()
