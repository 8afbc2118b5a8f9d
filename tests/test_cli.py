"""``fti``: the model store and its champions."""

import importlib.metadata
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import click
import dagster as dg
import pytest

from fti_assets.cli import main
from fti_assets.cli.options import write_file
from fti_assets.core import clock
from fti_assets.core.manifest import DatasetRecord, GateVerdict, Status
from fti_assets.stores.models.store import ModelStore
from tests.graphs import constant_graph
from tests.support.records import model_manifest

GRAPH = constant_graph()
FIRST, SECOND, REJECTED = (
    f"v1/{build}" for build in ("20130501T000000Z-00000001", "20130601T000000Z-00000002", "20130701T000000Z-00000003")
)


def publish(store: ModelStore, reference: str, cutoff: str, status: Status = "accepted") -> None:
    gate = GateVerdict("beats_baseline_roc_auc", status == "accepted", "roc_auc 0.75 is what it is")
    manifest = model_manifest(
        GRAPH,
        build=reference.removeprefix("v1/"),
        status=status,
        cutoff=cutoff,
        created_at=cutoff,
        metrics={"roc_auc": 0.75},
        gates=(gate,),
    )
    store.publish(manifest, GRAPH, "a card")


@pytest.fixture
def models(tmp_path: Path) -> str:
    store = ModelStore(tmp_path / "models")
    with clock.at("2013-07-01"):
        publish(store, FIRST, "2013-05-01T00:00:00")
        publish(store, SECOND, "2013-06-01T00:00:00")
        publish(store, REJECTED, "2013-07-01T00:00:00", "rejected")
        store.promote("delay_net", FIRST, expected=None, reason="accepted by its gates")
    return str(store.root)


def test_models_lists_models_with_their_champions(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--models", models]) == 0
    assert capsys.readouterr().out == f"delay_net  champion {FIRST}\n"


def test_models_of_model_lists_its_builds_with_their_gates(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "delay_net", "--models", models]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{FIRST}  accepted, champion  roc_auc 0.7500",
        "    passed beats_baseline_roc_auc: roc_auc 0.75 is what it is",
        f"{SECOND}  accepted  roc_auc 0.7500",
        "    passed beats_baseline_roc_auc: roc_auc 0.75 is what it is",
        f"{REJECTED}  rejected  roc_auc 0.7500",
        "    failed beats_baseline_roc_auc: roc_auc 0.75 is what it is",
    ]


def test_promote_makes_an_accepted_build_the_champion(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "delay_net", SECOND, "--reason", "it is newer", "--models", models]) == 0
    assert capsys.readouterr().out.endswith(f"the champion of delay_net is {SECOND}, before it was {FIRST}\n")
    aliases = ModelStore(models).aliases("delay_net")
    assert aliases.champion == SECOND
    assert aliases.history[-1].reason == "it is newer"


def test_rollback_goes_back_to_the_champion_before(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["promote", "delay_net", SECOND, "--reason", "it is newer", "--models", models])
    capsys.readouterr()
    assert main(["rollback", "delay_net", "--reason", "it is wrong", "--models", models]) == 0
    assert capsys.readouterr().out.endswith(f"the champion of delay_net is {FIRST}, before it was {SECOND}\n")
    assert ModelStore(models).aliases("delay_net").rolled_back == (SECOND,)
    main(["models", "delay_net", "--models", models])
    assert f"{SECOND}  accepted, rolled back" in capsys.readouterr().out


def test_rollback_to_a_named_build(models: str) -> None:
    assert main(["rollback", "delay_net", "--to", SECOND, "--reason", "it is wrong", "--models", models]) == 0
    assert ModelStore(models).aliases("delay_net").champion == SECOND


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


def newest(key: dg.AssetKey) -> dg.AssetObservation:
    with dg.DagsterInstance.get() as instance:
        result = instance.fetch_observations(key, limit=1).records[0].asset_observation
    assert result is not None
    return result


def test_a_promotion_and_a_rollback_are_reported_to_dagster(
    models: str, dagster_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with clock.at("2013-07-02T10:00"):
        assert main(["promote", "delay_net", SECOND, "--reason", "it is newer", "--models", models]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "reported to Dagster, on the page of delay_net_v1"
    promoted = newest(dg.AssetKey("delay_net_v1"))
    displayed = {name: value.value for name, value in promoted.metadata.items()}
    assert str(displayed.pop("changed_by")).endswith(f" on {socket.gethostname()}")
    assert displayed == {
        "champion": SECOND, "previous_champion": FIRST, "reason": "it is newer", "changed_at": "2013-07-02T10:00:00 UTC",
        "evidence/roc_auc": 0.75, "evidence/gates": "passed beats_baseline_roc_auc: roc_auc 0.75 is what it is",
        "evidence/beside_the_champion_before": "roc_auc: 0.75 -> 0.75 (+0)",
    }  # fmt: skip
    assert promoted.description == f"The champion is {SECOND}, before it was {FIRST}: it is newer"
    assert promoted.partition is None
    assert main(["rollback", "delay_net", "--reason", "it is wrong", "--by", "Ana", "--models", models]) == 0
    back = newest(dg.AssetKey("delay_net_v1"))
    assert (back.metadata["champion"].value, back.metadata["previous_champion"].value) == (FIRST, SECOND)
    assert back.metadata["changed_by"].value == "Ana"


def test_every_page_that_names_old_or_new_champion_is_told(models: str, dagster_home: Path) -> None:
    store, other = ModelStore(models), "v2/20130601T000000Z-00000009"
    manifest = replace(
        store.manifest("delay_net", SECOND), version=2, build=other[3:], asset_key=("flights", "delay_net_v2"),
        dataset=DatasetRecord("d", 1, "2013-06-01", "1.0", {"train": 1}, True),
    )  # fmt: skip
    store.publish(manifest, GRAPH, "a card")
    assert main(["promote", "delay_net", other, "--reason", "it is newer", "--models", models]) == 0
    for key, partition in ((["flights", "delay_net_v2"], "2013-06-01"), (["delay_net_v1"], None)):
        result = newest(dg.AssetKey(key))
        assert (result.metadata["champion"].value, result.partition) == (other, partition)


def test_without_dagster_instance_champion_changes_and_it_is_said(
    models: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert main(["promote", "delay_net", SECOND, "--reason", "it is newer", "--models", models]) == 0
    assert capsys.readouterr().err == "nothing was reported to Dagster, since DAGSTER_HOME is not set\n"
    monkeypatch.setenv("DAGSTER_HOME", f"{models}/nowhere")
    assert main(["rollback", "delay_net", "--reason", "it is wrong", "--models", models]) == 0
    printed = capsys.readouterr()
    assert f"the instance of DAGSTER_HOME={models}/nowhere failed: $DAGSTER_HOME" in printed.err
    assert printed.out.endswith(f"the champion of delay_net is {FIRST}, before it was {SECOND}\n")
    assert ModelStore(models).aliases("delay_net").champion == FIRST


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "delay_net", REJECTED, "--reason", "r"], "cannot be champion: it is rejected: beats_baseline"),
        (["promote", "delay_net", "v1/latest", "--reason", "r"], "has no build 'v1/latest'"),
        (["promote", "delay_net", FIRST, "--reason", "r"], f"{FIRST} is the champion of model 'delay_net' already"),
        (["promote", "delay_nets", FIRST, "--reason", "r"], "model 'delay_nets' has no build"),
        (["rollback", "delay_net", "--reason", "r"], "no champion of model 'delay_net' came before"),
        (["rollback", "delay_net", "--to", FIRST, "--reason", "r"], "is the champion of model 'delay_net' itself"),
        (["rollback", "delay_nets", "--reason", "r"], "no champion for model 'delay_nets'"),
        (["models", "Delay Net"], "'Delay Net' is not the name of a model"),
        (["models", "delay_nets"], "there is no model 'delay_nets' in "),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_1(
    models: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ModelStore(models).aliases("delay_net")
    assert main([*arguments, "--models", models]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("fti: ")
    assert message in printed.err
    assert printed.out == ""
    assert ModelStore(models).aliases("delay_net") == before


@pytest.mark.parametrize(
    "command", [["promote", "delay_net", SECOND], ["rollback", "delay_net"], ["rollout", "stop", "delay_net"]]
)
@pytest.mark.parametrize("blank", ["", " \t", "\u200b\xa0"])
def test_a_reason_is_not_blank(models: str, command: list[str], blank: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = ModelStore(models).aliases("delay_net")
    assert main([*command, "--reason", blank, "--models", models]) == 2
    assert "it is blank: say why" in capsys.readouterr().err
    assert ModelStore(models).aliases("delay_net") == before


def test_a_champion_that_is_not_there_is_told(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(Path(models) / "delay_net" / FIRST)
    assert main(["models", "delay_net", "--models", models]) == 1
    printed = capsys.readouterr()
    assert f"{FIRST}  (damaged: it is the champion, and it is not there)" in printed.out.splitlines()
    assert f"{SECOND}  accepted  roc_auc 0.7500" in printed.out.splitlines()
    assert f"'{FIRST}' cannot be read" in printed.err
    assert main(["models", "--models", models]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("delay_net  (damaged: ")
    assert FIRST in printed.out
    assert "who is champion of 'delay_net' cannot be read" in printed.err


def test_an_unknown_model_is_told_the_models_there_are(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "delay_nets", "--models", models])
    assert f"there is no model 'delay_nets' in {models}: it has 'delay_net'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["promote", "delay_net", FIRST], ["demote", "delay_net"]])
def test_an_incomplete_command_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Usage: fti" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["backtest", "freshness", "leak-report"])
def test_a_file_that_cannot_be_written_is_refused_before_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # no definitions are there, and none are asked for
    assert main([command, "buyer", "--svg", "absent/x.svg"]) == 2
    assert "absent/x.svg cannot be written: there is no folder absent" in capsys.readouterr().err
    assert main([command, "buyer", "--svg", "."]) == 2
    assert ". is a folder: name a file" in capsys.readouterr().err


def test_a_file_is_not_half_said_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="cannot be written: No such file or directory"):
        write_file(tmp_path / "absent" / "x.svg", "<svg/>")


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fti_assets {importlib.metadata.version('fti-assets')}\n"


def test_model_store_is_that_of_home_by_default(
    models: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FTI_HOME", str(Path(models).parent))
    assert main(["models"]) == 0
    assert capsys.readouterr().out.startswith("delay_net")
    monkeypatch.chdir(Path(models).parent)
    monkeypatch.delenv("FTI_HOME")
    assert main(["models"]) == 0  # .fti/models, where nothing is
    assert capsys.readouterr().out == ""
