"""``fti models show``, ``diff``, ``at`` and ``retire``."""

import json
from dataclasses import replace

import pytest

from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.manifest import GateVerdict
from fti_assets.core.manifest.intervals import Interval
from fti_assets.core.records import from_json, to_json
from fti_assets.stores.models.aliases import BuildMetrics, Evidence
from fti_assets.stores.models.store import ModelStore
from tests.stores.online_stores import load
from tests.stores.test_models import made
from tests.test_cli import FIRST, REJECTED, SECOND, models

__all__ = ["models"]  # the fixture


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_show_says_what_the_champion_is_and_since_when(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "delay_net", "--models", models]) == 0
    lines = said(capsys)
    assert lines[:3] == [
        f"delay_net {FIRST}  accepted, champion",
        f"in {models}/delay_net/{FIRST}",
        "champion since 2013-07-01T00:00:00: accepted by its gates",
    ]
    assert [line for line in lines if not line.startswith(" ")][3:] == ["data", "metrics", "gates", "model"]
    assert "  beats_baseline_roc_auc: passed: roc_auc 0.75 is what it is" in lines
    assert main(["models", "show", "delay_net", REJECTED, "--models", models]) == 0
    assert said(capsys)[0] == f"delay_net {REJECTED}  rejected: beats_baseline_roc_auc"


def test_show_for_machines(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "delay_net", FIRST, "--json", "--models", models]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["build"], content["metrics"], content["champion"][0]["champion"]) == (
        FIRST,
        {"test roc_auc": 0.75},
        FIRST,
    )


def test_diff_is_from_champion_unless_another_is_named(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "diff", "delay_net", SECOND, "--models", models]) == 0
    assert said(capsys) == [
        f"delay_net: from {FIRST} to {SECOND}",
        "data",
        "  cutoff: 2013-05-01T00:00:00 -> 2013-06-01T00:00:00",
    ]
    assert main(["models", "diff", "delay_net", SECOND, SECOND, "--models", models]) == 0
    assert said(capsys)[1:] == ["they do not differ"]
    assert main(["models", "diff", "delay_net", FIRST, REJECTED, "--json", "--models", models]) == 0
    sections = [one["section"] for one in json.loads(capsys.readouterr().out)]
    assert sections == ["data", "gates", "model"]


def test_at_says_what_was_in_production_then(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    with clock.at("2013-08-01T12:00"):
        assert main(["promote", "delay_net", SECOND, "--reason", "it is newer", "--by", "Ana", "--models", models]) == 0
    capsys.readouterr()
    for time, line in {
        "2013-06-30": "delay_net  nothing: it had no champion yet",
        "2013-07-31": f"delay_net  {FIRST}  since 2013-07-01T00:00:00: accepted by its gates, until 2013-08-01T12:00:00",
        "2013-08-01T14:00+02:00": f"delay_net  {SECOND}  since 2013-08-01T12:00:00: it is newer, by Ana",
    }.items():
        for model in ([], ["delay_net"]):
            assert main(["models", "at", *model, time, "--models", models]) == 0
            assert said(capsys) == [line]


def test_retire_lists_first_and_deletes_when_it_is_told(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = ModelStore(models)
    store.promote("delay_net", SECOND, expected=FIRST, reason="by hand")
    retire = ["models", "retire", "delay_net", "--older-than", "0s", "--models", models]
    for more, last in (
        ([], "nothing was deleted: answer y, or say --yes"),
        (["--dry-run", "--yes"], "1 build of delay_net would go"),
    ):
        assert main([*retire, *more]) == 0
        lines = said(capsys)
        assert lines[:2] == [f"{FIRST}  stays: it was the champion once", f"{SECOND}  stays: it is the champion"]
        assert lines[2].startswith(f"{REJECTED}  goes, ")
        assert lines[3:] == [last]
        assert len(store.builds("delay_net")) == 3
    assert main([*retire, "--yes"]) == 0
    assert said(capsys)[-1].startswith("deleted 1 build of delay_net, ")
    assert [build.reference for build in store.builds("delay_net")] == [FIRST, SECOND]
    assert main([*retire, "--yes"]) == 0
    assert said(capsys)[-1] == "no build of delay_net goes"


@pytest.mark.parametrize("is_cut", [False, True])
def test_aliases_that_contradict_their_history_are_named(
    models: str, capsys: pytest.CaptureFixture[str], is_cut: bool
) -> None:
    store = ModelStore(models)
    aliases = store.aliases("delay_net")
    edited = {"champion": FIRST, "history": ()} if is_cut else {"champion": SECOND}
    path = store.aliases_file("delay_net")
    path.write_text(to_json(replace(aliases, **edited)))
    end = "has none" if is_cut else f"ends with {FIRST}"
    said_of_it = f"names the champion {edited['champion']}, and its history {end}: somebody has edited it"
    assert main(["models", "at", "delay_net", "2013-08-01", "--models", models]) == 0
    assert f"{said_of_it}. What follows is by its history" in capsys.readouterr().err
    assert main(["models", "show", "delay_net", "--models", models]) == 0
    assert said_of_it in capsys.readouterr().err
    text = path.read_text()
    assert main(["models", "retire", "delay_net", "--older-than", "0s", "--yes", "--models", models]) == 1
    assert (
        f"{said_of_it}, so nobody can say which builds were in production, and none is deleted"
        in capsys.readouterr().err
    )
    assert (path.read_text(), len(store.builds("delay_net"))) == (text, 3)
    served = str(edited["champion"])
    assert main(["models", "promote", "delay_net", served, "--reason", "it is right", "--models", models]) == 0
    assert store.aliases("delay_net").contradiction == ""
    assert store.aliases("delay_net").history[-1].reason == "it is right"
    capsys.readouterr()
    assert main(["models", "show", "delay_net", "--models", models]) == 0
    assert "somebody has edited it" not in capsys.readouterr().err


def test_promote_and_rollback_stand_among_the_others(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "promote", "delay_net", SECOND, "--reason", "r", "--models", models]) == 0
    assert main(["models", "rollback", "delay_net", "--reason", "r", "--models", models]) == 0
    assert said(capsys)[-1] == f"the champion of delay_net is {FIRST}, before it was {SECOND}"
    assert main(["models", "list", "--models", models]) == 0
    assert said(capsys) == [f"delay_net  champion {FIRST}"]


def test_history_keeps_who_when_and_on_what_evidence(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    with clock.at("2013-08-01T12:00"):
        assert (
            main(
                ["models", "promote", "delay_net", SECOND, "--reason", "seen by two", "--by", "Ana", "--models", models]
            )
            == 0
        )
    change = ModelStore(models).aliases("delay_net").history[-1]
    assert (change.at, change.by, change.reason, change.run_id) == ("2013-08-01T12:00:00", "Ana", "seen by two", "")
    gate = GateVerdict("beats_baseline_roc_auc", True, "roc_auc 0.75 is what it is")
    before = BuildMetrics(FIRST, {"roc_auc": 0.75}, {}, has_same_rows=True)
    assert change.evidence == Evidence({"roc_auc": 0.75}, (gate,), {}, before)
    compared = [f"from {FIRST} to {SECOND}, both on the same test rows:", "    roc_auc: 0.75 -> 0.75 (+0)"]
    assert said(capsys)[:2] == compared
    assert main(["models", "show", "delay_net", SECOND, "--models", models]) == 0
    assert [line.strip() for line in said(capsys)[3:5]] == [line.strip() for line in compared]
    assert main(["models", "at", "2013-08-02", "--models", models]) == 0
    assert said(capsys) == [f"delay_net  {SECOND}  since 2013-08-01T12:00:00: seen by two, by Ana"]


def test_aliases_without_authors_and_evidence_are_read(models: str) -> None:
    """As the first release wrote them."""
    path = ModelStore(models).aliases_file("delay_net")
    content = json.loads(path.read_text())
    for change in content["history"]:
        del change["by"], change["evidence"]
    path.write_text(json.dumps(content))
    (change,) = ModelStore(models).aliases("delay_net").history
    assert (change.author, change.evidence) == ("", None)
    assert main(["models", "promote", "delay_net", SECOND, "--reason", "r", "--models", models]) == 0


@pytest.mark.parametrize("command", [["promote"], ["models", "promote"]])
def test_the_online_store_that_is_named_says_what_is_served(
    models: str, command: list[str], tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    from fti_assets.core.records import to_json
    from fti_assets.stores.online.store import online_store
    from tests.stores.test_builds import of_view, weather

    build = of_view(weather(1), build="20130801T000000Z-00000004")
    folder = ModelStore(models).root / "delay_net" / build.reference
    folder.mkdir()
    (folder / "manifest.json").write_text(to_json(build))
    location = str(tmp_path_factory.mktemp("online"))
    main([*command, "delay_net", build.reference, "--reason", "r", "--models", models, "--online", f"{location}/onlin"])
    err = capsys.readouterr().err
    assert f"was not checked: the online store {location}/onlin" in err
    assert "has no version of 'weather_v1'" in err
    load(online_store(location), [], "weather_v2")
    assert (
        main([*command, "delay_net", build.reference, "--reason", "r", "--models", models, "--online", location]) == 1
    )
    assert "it reads 'weather_v1', which the online store" in capsys.readouterr().err
    assert ModelStore(models).aliases("delay_net").champion == FIRST


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "delay_nets"], 1, "no champion for model 'delay_nets'"),
        (["diff", "delay_net", "v1/latest"], 1, "has no build 'v1/latest'"),
        (["at", "delay_net", "yesterday"], 1, "'yesterday' is no instant: write ISO text"),
        (["at", "delay_nets", "2013-07-01"], 1, "there is no model 'delay_nets'"),
        (["at", "delay_net", "delay_net", "2013-07-01"], 2, "one MODEL and a TIME are expected"),
        (["retire", "delay_net"], 2, "say which builds are old: --keep N"),
        (["retire", "delay_net", "--keep", "0"], 1, "0 builds cannot be kept"),
        (["retire", "delay_nets", "--keep", "1"], 1, "there is no model 'delay_nets'"),
    ],
)
def test_what_cannot_be_told_or_done_is_one_sentence(
    models: str, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *arguments, "--models", models]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_evidence_has_the_intervals_of_both_builds() -> None:
    old = replace(made(1), metrics={"roc_auc": 0.75, "mae": 2.0}, intervals={"roc_auc": Interval(0.7, 0.8)})
    new = replace(made(2), metrics={"roc_auc": 0.5}, intervals={"roc_auc": Interval(0.4, 0.6)})
    new = replace(new, dataset=replace(new.dataset, data_version="other rows"))
    evidence = Evidence.of(new, old)
    assert evidence.before is not None
    assert not evidence.before.has_same_rows
    assert evidence.comparison == [
        "roc_auc: 0.75 (95% interval 0.7 to 0.8) -> 0.5 (95% interval 0.4 to 0.6) (-0.25)",
        "mae: 2 -> not measured",
    ]
    assert Evidence.of(new, None).comparison == Evidence.of(new, new).comparison == []
    assert from_json(Evidence, to_json(evidence), what="evidence") == evidence
