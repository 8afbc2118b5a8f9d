"""What Dagster is told of each build: accepted, rejected, promoted over another version's, one of a range."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

import fti_assets as fti
from tests.training.test_model_run import BUYING, CUTOFFS, Bench, bad, bench, buyer, good, made, materialized

__all__ = ["bench", "made"]
GATES = [fti.BeatsBaseline("log_loss"), fti.NotWorseThanChampion("log_loss", tolerance=1.0)]


def observed(bench: Bench, key: str = "buyer_v1") -> list[dg.AssetObservation]:
    """The observations of an asset, the newest first."""
    results = bench.instance.fetch_observations(dg.AssetKey(key), limit=10).records
    return [record.asset_observation for record in results if record.asset_observation is not None]


def statuses(bench: Bench, gate: str, key: str = "buyer_v1") -> dict[str, set[str]]:
    """The partitions of each status of a check, as the UI resolves them."""
    check = dg.AssetCheckKey(dg.AssetKey(key), gate)
    state = bench.instance.event_log_storage.get_asset_check_state([(check, CUTOFFS)])[check]
    results = {status.name: subset.subset_value for status, subset in state.subsets.items()}
    return {name: set(keys.get_partition_keys()) for name, keys in results.items() if keys.get_partition_keys()}


def sixth_bad() -> Any:
    calls: list[int] = []

    def fit(data: fti.TrainingData) -> Any:
        calls.append(1)
        return bad(data) if len(calls) == 2 else good(data)

    return fit


@pytest.mark.parametrize("gates_fail_run", [True, False])
def test_rejected_build_is_observed_with_scores_card_and_gates(bench: Bench, gates_fail_run: bool) -> None:
    champion = bench.published("07", promoted=True).reference
    model = buyer(bad, gates=GATES, gates_fail_run=gates_fail_run)
    result = bench.train(model, "08")
    assert not materialized(result, model)
    rejected = bench.builds()[-1]
    (displayed,) = observed(bench)
    assert displayed.partition == "2013-01-08"
    assert f"{rejected.reference} is rejected: beats_baseline_log_loss: log_loss" in str(displayed.description)
    values = {name: value.value for name, value in displayed.metadata.items()}
    assert all(name.startswith("rejected/") for name in values)  # nothing that a materialization shows is laid over
    own = {name.removeprefix("rejected/"): value for name, value in values.items()}
    assert (own["build"], own["champion_after_run"]) == (rejected.reference, champion)
    assert own["test/log_loss"] == rejected.metrics["log_loss"]
    assert own["baseline/log_loss"] == rejected.baseline["log_loss"]
    assert own["gates"].startswith("beats_baseline_log_loss: log_loss")
    assert "It is **rejected**" in own["card"]
    assert own["roc_curve"].startswith("![roc_curve](data:image/svg+xml")
    assert own["whole_pictures"].endswith(f"{rejected.reference}/pictures.html")
    assert "dagster/data_version" not in displayed.tags  # nothing downstream takes it for a change


def test_whole_pictures_lie_in_build_and_are_linked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.store.root.parent)  # whoever reads the page sits elsewhere, so the link is not relative
    bench.stores = fti.Stores(lake=bench.stores.lake, models=bench.store.root.name)
    model = buyer()
    event = materialized(bench.train(model, "08"), model)["2013-01-08"]
    (manifest,) = bench.builds()
    link = event.metadata["whole_pictures"]
    assert isinstance(link, dg.PathMetadataValue)
    page = Path(str(link.value))
    assert page == bench.store.folder(manifest) / "pictures.html"
    assert manifest.files["pictures.html"] == hashlib.sha256(page.read_bytes()).hexdigest()
    assert manifest.asset_key == ("buyer_v1",)
    rows = len(bench.rows(BUYING, "08"))
    assert f"On the test split, {rows} rows." in page.read_text()


@pytest.mark.soak
def test_each_cutoff_of_range_has_its_own_gate_results(bench: Bench) -> None:
    model = buyer(sixth_bad(), gates=GATES)
    result = bench.train(model, span=("2013-01-05", "2013-01-08"))
    assert not result.success
    builds = bench.builds()
    assert list(materialized(result, model)) == ["2013-01-05", "2013-01-07", "2013-01-08"]
    (displayed,) = observed(bench)
    assert (displayed.partition, displayed.metadata["rejected/build"].value) == ("2013-01-06", builds[1].reference)
    every = result.get_asset_check_evaluations()
    assert [(one.partition, one.passed, one.blocking) for one in every if one.check_name == "numbers_kept_apart"] == [
        (f"2013-01-0{day}", True, False) for day in (5, 6, 7, 8)
    ]
    results = [one for one in every if one.check_name != "numbers_kept_apart"]
    assert [(one.partition, one.check_name, one.passed) for one in results] == [
        (f"2013-01-0{day}", gate.name, (day, number) != (6, 0))
        for day in (5, 6, 7, 8)
        for number, gate in enumerate(GATES)
    ]
    assert [one.metadata["build"].value for one in results[::2]] == [build.reference for build in builds]
    assert results[0].metadata["test/log_loss"].value == builds[0].metrics["log_loss"]
    accepted = {"2013-01-05", "2013-01-07", "2013-01-08"}
    assert statuses(bench, GATES[0].name) == {"SUCCEEDED": accepted, "FAILED": {"2013-01-06"}}
    assert statuses(bench, GATES[1].name) == {"SUCCEEDED": accepted | {"2013-01-06"}}


@pytest.mark.soak
def test_gates_of_one_cutoff_are_of_build_that_is_there(bench: Bench) -> None:
    assert bench.train(buyer(), "07").success
    assert statuses(bench, "beats_baseline_log_loss") == {"SUCCEEDED": {"2013-01-07"}}
    assert bench.train(buyer(), "07").success
    assert statuses(bench, "beats_baseline_log_loss") == {"SUCCEEDED": {"2013-01-07"}}
    assert not bench.train(buyer(bad), "07").success
    assert statuses(bench, "beats_baseline_log_loss") == {"FAILED": {"2013-01-07"}}


def test_a_range_of_one_cutoff_names_it_in_its_checks(bench: Bench) -> None:
    span = ("2013-01-07", "2013-01-07")
    assert bench.train(buyer(), span=span).success
    assert statuses(bench, "beats_baseline_log_loss") == {"SUCCEEDED": {"2013-01-07"}}
    assert not bench.train(buyer(bad), span=span).success
    assert statuses(bench, "beats_baseline_log_loss") == {"FAILED": {"2013-01-07"}}
    assert statuses(bench, "numbers_kept_apart") == {"SUCCEEDED": {"2013-01-07"}}


@pytest.mark.soak
def test_what_follows_range_runs_after_gates_that_let_it(bench: Bench) -> None:
    model = buyer(sixth_bad(), gates=GATES, gates_fail_run=False)
    result = bench.train(model, span=("2013-01-05", "2013-01-08"))
    assert result.success
    outputs = {
        event.step_output_data.output_name for event in result.filter_events(lambda one: one.is_successful_output)
    }
    assert {f"buyer_v1_{name}" for name in ("numbers_kept_apart", *(gate.name for gate in GATES))} <= outputs


def test_range_that_breaks_off_keeps_events_of_what_it_promoted(bench: Bench) -> None:
    calls: list[int] = []

    def third_breaks(data: fti.TrainingData) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return good(data)

    model = buyer(third_breaks)
    result = bench.train(model, span=("2013-01-05", "2013-01-08"))
    assert not result.success
    assert list(materialized(result, model)) == ["2013-01-05", "2013-01-06"]
    assert bench.champion == bench.builds()[-1].reference
    assert len(result.get_asset_check_evaluations()) == 4


def test_page_of_version_before_names_new_champion(bench: Bench) -> None:
    assert bench.train(buyer(), "07").success
    assert observed(bench) == []
    assert bench.train(buyer(version=2), "08").success
    first, second = bench.builds()
    (result,) = observed(bench, "buyer_v1")
    assert result.partition == "2013-01-07"
    assert {name: result.metadata[name].value for name in ("champion", "previous_champion")} == {
        "champion": second.reference, "previous_champion": first.reference,
    }  # fmt: skip
    assert str(result.metadata["changed_by"].value).startswith("run ")
    assert observed(bench, "buyer_v2") == []


def test_checks_with_partitions_load_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        definitions = fti.build_definitions([buyer(gates=GATES)])
        graph = definitions.resolve_asset_graph()
    (spec, *_) = [graph.get(key) for key in graph.asset_check_keys if key.name == GATES[0].name]
    assert spec.partitions_def == CUTOFFS


def test_an_unpartitioned_model_is_observed_without_a_partition(tmp_path: Path) -> None:
    from fti_assets import testing

    @fti.feature_group(keys=["k"])
    def things() -> Any:
        import pandas as pd

        rng = np.random.default_rng(1)
        x = rng.normal(size=400)
        return pd.DataFrame({"k": np.arange(400), "x": x, "y": (x > 0).astype(int)})

    view = fti.FeatureView(name="thing", spine=things, label=fti.Label(things["y"]), features=[things["x"]])

    @fti.model(dataset=view, task="binary", gates=[fti.BeatsBaseline("log_loss")])
    def thing_model(data: fti.TrainingData) -> Any:
        return bad(data)

    stores = testing.stores_in(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [things.assets_def, thing_model.dataset.assets_def, thing_model.assets_def],
            resources={"fti": stores}, instance=instance, raise_on_error=False,
        )  # fmt: skip
        (record,) = instance.fetch_observations(thing_model.key, limit=5).records
        assert record.partition_key is None
        (evaluation,) = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(thing_model.key, "beats_baseline_log_loss"), limit=5
        )
        assert evaluation.status.value == "FAILED"
