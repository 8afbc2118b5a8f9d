"""What ``dg scaffold defs`` writes loads at once, and runs."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.component_scaffolding import scaffold_object
from dagster.components.testing import create_defs_folder_sandbox
from dagster.components.testing.utils import DefsFolderSandbox

import fti_assets as fti
from fti_assets.components import (
    AlertsComponent,
    CompositeComponent,
    ExperimentComponent,
    FeatureGroupComponent,
    FeatureViewComponent,
    ModelComponent,
    MonitorComponent,
    ParityComponent,
    PredictionLogComponent,
    PredictionsComponent,
    StoresComponent,
)
from fti_assets.core import clock
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.drift.drift import DEFAULT_RULES
from tests.support.partitions import range_tags
from tests.support.programs import called

# Dagster itself reads each YAML document so, and points from each asset to its YAML.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated"),
    pytest.mark.filterwarnings("ignore:Class `.*Code.*` is currently in beta"),
    pytest.mark.filterwarnings("ignore:Parameter `use_user_code_server`"),
    pytest.mark.filterwarnings("ignore:Parameter `owners` of initializer `SensorDefinition"),
]

DG = Path(sys.executable).parent / "dg"
NOW = "2026-03-10T12:00:00"


@pytest.fixture
def sandbox() -> Iterator[DefsFolderSandbox]:
    with create_defs_folder_sandbox() as made, clock.at(NOW):
        yield made


def scaffold(sandbox: DefsFolderSandbox, kind: type[Any], folder: str, **parameters: str) -> Path:
    """Scaffold under the type's public name, as the command does."""
    path = sandbox.defs_folder_path / folder
    named = f"fti_assets.components.{kind.__name__}"
    scaffold_object(path, named, json.dumps(parameters) if parameters else None, "yaml", sandbox.project_root)
    return path


def run(defs: dg.Definitions, key: str, start: str, end: str, instance: dg.DagsterInstance) -> bool:
    tags = range_tags(start, end)
    job = defs.resolve_implicit_global_asset_job_def()
    return bool(job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(key)], tags=tags).success)


def test_a_scaffolded_system_loads_trains_and_predicts(
    sandbox: DefsFolderSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    scaffold(sandbox, FeatureGroupComponent, "visits")
    scaffold(sandbox, FeatureGroupComponent, "facts/2-outcomes")
    of_label = {"label_group": "n2_outcomes", "label_column": "n2_outcomes_value"}
    scaffold(sandbox, FeatureViewComponent, "buying", spine="visits", **of_label)
    scaffold(sandbox, ModelComponent, "buyer", dataset="buying", task="regression")
    scaffold(sandbox, ModelComponent, "returner", dataset="buying", task="regression")
    scaffold(sandbox, CompositeComponent, "either", models="buyer, returner")
    scaffold(sandbox, PredictionsComponent, "Daily-Buys", model="buyer")
    scaffold(sandbox, PredictionLogComponent, "buyer_log", model="buyer")
    scaffold(sandbox, ExperimentComponent, "arms", model="buyer", log="buyer_log", metric="mae")
    scaffold(sandbox, MonitorComponent, "buys_watch", predictions="daily_buys")
    scaffold(sandbox, ParityComponent, "buyer_parity", log="buyer_log")
    scaffold(sandbox, AlertsComponent, "alerts")
    with sandbox.build_component_tree() as tree, dg.DagsterInstance.ephemeral() as instance:
        defs = tree.build_defs()
        keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
        models = {"buyer_v1", "returner_v1", "either_v1", "daily_buys_v1", "buyer_log_v1", "arms_v1"}
        watching = {"buys_watch_v1", "buyer_parity_v1"}
        assert keys == {"visits_v1", "n2_outcomes_v1", "buying_dataset_v1", *models, *watching}
        assert defs.resources is not None
        assert defs.resources["alerts"].to == ["log"]
        (monitor,) = tree.get_all_components(MonitorComponent)
        assert monitor.declaration_in(tree).drift == DEFAULT_RULES
        for group in ("visits_v1", "n2_outcomes_v1"):
            assert run(defs, group, "2025-01-01", "2025-03-02", instance)
        for made in ("buying_dataset_v1", "buyer_v1"):
            assert run(defs, made, "2025-03-01", "2025-03-01", instance)
        assert run(defs, "daily_buys_v1", "2025-03-01", "2025-03-02", instance)
        (predictions,) = tree.get_all_components(PredictionsComponent)
        assert len(fti.read(predictions.declaration_in(tree))) == 2 * 24 * 3


def test_component_can_be_scaffolded_into_file_that_is_there(sandbox: DefsFolderSandbox) -> None:
    path = scaffold(sandbox, FeatureGroupComponent, "visits") / "defs.yaml"
    code = (path.parent / "visits.py").read_text()
    named = "fti_assets.components.FeatureViewComponent"
    parameters = json.dumps({"spine": "visits", "label_group": "visits", "label_column": "visits_value"})
    scaffold_object(path, named, parameters, "yaml", sandbox.project_root, append=True)
    assert path.read_text().count("type: fti_assets.components.") == 2
    assert (path.parent / "visits.py").read_text() == code


def test_stores_are_scaffolded_with_no_attributes(sandbox: DefsFolderSandbox) -> None:
    scaffold(sandbox, StoresComponent, "stores")
    scaffold(sandbox, FeatureGroupComponent, "visits")
    with sandbox.build_all_defs() as defs:
        assert defs.resources is not None
        assert list(defs.resources) == ["fti"]


def test_scaffolding_as_python_is_refused_with_what_to_do(sandbox: DefsFolderSandbox) -> None:
    named = "fti_assets.components.FeatureGroupComponent"
    with pytest.raises(DeclarationError, match="is scaffolded as YAML: leave out --format"):
        scaffold_object(sandbox.defs_folder_path / "visits", named, None, "python", sandbox.project_root)


@pytest.mark.soak
def test_dg_scaffolds_group_that_it_then_checks_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DG.exists():
        pytest.skip("dagster-dg-cli is not installed beside this Python: pip install dagster-dg-cli")
    project = tmp_path / "project"
    defs = project / "src" / "shop" / "defs"
    defs.mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "0.1.0"\n'
        '[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "shop"\nregistry_modules = ["fti_assets.components"]\n'
    )
    (defs.parent / "__init__.py").touch()
    (defs / "__init__.py").touch()
    (defs.parent / "definitions.py").write_text(
        "from pathlib import Path\n\nimport dagster as dg\n\n\n@dg.definitions\ndef defs() -> dg.Definitions:\n"
        "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    environment = {
        "PYTHONPATH": str(project / "src"), "HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster"),
        "PATH": f"{DG.parent}{os.pathsep}{os.environ['PATH']}", "DAGSTER_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "path", [*sys.path, str(project / "src")])  # Dagster takes the first for the script's own
    monkeypatch.chdir(project)
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    def dg_says(*arguments: str) -> str:
        code, result = called("dg", *arguments)
        assert code == 0, result
        return result

    kind = "fti_assets.components.FeatureGroupComponent"
    dg_says("scaffold", "defs", kind, "weather")
    assert sorted(path.name for path in (defs / "weather").iterdir()) == ["defs.yaml", "weather.py"]
    dg_says("check", "yaml")
    listed = json.loads(dg_says("list", "defs", "--json"))
    assert [asset["asset_key"] for asset in listed["assets"]] == ["weather_v1"]
    assert [resource["name"] for resource in listed["resources"]] == ["fti"]
