"""Each kind of damage in each file of the stores, before each way in: it goes right, or the library's own error names it."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets import errors
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.errors import FtiError
from fti_assets.inference.server import serving_app
from fti_assets.stores.models.plain import publish_graph
from fti_assets.stores.models.rollouts import start_rollout
from fti_assets.stores.models.store import ModelStore
from tests.forgetting import library
from tests.forgetting.library import ANN, LAST, NOW, SOURCE
from tests.forgetting.test_forget import run_all
from tests.forgetting.test_forget import stores_in as stores_without_log
from tests.graphs import constant_graph
from tests.integration.library_system import LOG
from tests.support.damage import DAMAGE, JSON, LINES, ONLINE, Damage, content_of, copy_of
from tests.support.examples import SOAK
from tests.support.partitions import range_tags
from tests.support.serving import ask
from tests.support.worlds import made_once

SYSTEM = ["-m", "tests.integration.library_system"]
AT = f"{LAST}T12:00:00"
LOAN = SOURCE[SOURCE["borrower"] == ANN].iloc[-1]
REQUEST = {"loan_id": int(LOAN["loan_id"]), "borrower": ANN, "pages": 0.25}
REASON = ["--reason", "r"]
FIRST = "v1/20250101T000000Z-00000001"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Entry = Callable[[Path], Any]


def stores_in(home: Path) -> fti.Stores:
    return fti.Stores(**{name: str(home / name) for name in ("lake", "models", "online", "log")})


class Refused(Exception):
    """The library's own error, as whoever called sees it."""


def fti_command(*arguments: str) -> Entry:
    def run(home: Path) -> None:
        result = io.StringIO()
        with contextlib.redirect_stderr(result), contextlib.redirect_stdout(io.StringIO()):
            code = main([argument.replace("HOME", str(home)) for argument in arguments])
        assert code in (0, 1), result.getvalue()
        if code:
            assert "Traceback" not in result.getvalue()
            raise Refused(result.getvalue())

    return run


OWN = {"Failure"} | {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type)}


def step(declaration: Any, **options: Any) -> Entry:
    def run(home: Path) -> None:
        with clock.at(NOW), dg.DagsterInstance.ephemeral() as instance:
            done = dg.materialize(
                [declaration.assets_def], instance=instance, resources={"fti": stores_in(home)}, raise_on_error=False,
                run_config=QUIET, **options,
            )  # fmt: skip
        if not done.success:
            (failure,) = done.get_step_failure_events()
            error, causes = failure.step_failure_data.error, list[Any]()
            while error is not None:
                causes.append(error)
                error = error.cause
            text = " ".join(cause.message for cause in causes)
            assert OWN & {cause.cls_name for cause in causes}, text
            raise Refused(text)

    return run


def predict(home: Path) -> Any:
    with fti.Predictor.load("late_model", models=home / "models", online=home / "online") as predictor:
        one = predictor.predict(REQUEST, at=AT)
        return one.value, dict(one.features)


def serve(home: Path) -> Any:
    app = serving_app("late_model", models=home / "models", online=home / "online")
    with contextlib.closing(app.repository):  # whose thread would write into the next stores of this place
        answer = ask(app, "POST", "/predict/late_model", REQUEST)
    if answer.status != 200:
        assert answer.status == 503, answer.body
        raise Refused(answer.body.decode())


def load_by_repository(home: Path) -> None:
    app = serving_app("adder", models=home / "models", online=home / "online")
    with contextlib.closing(app.repository):
        answer = ask(app, "POST", "/v2/repository/models/late_model/load", {})
        assert ask(app, "POST", "/v2/repository/index", {}).status == 200
    if answer.status != 200:
        assert answer.status < 500, answer.body
        raise Refused(answer.body.decode())


def read(declaration: Any, **options: Any) -> Entry:
    return lambda home: sorted(map(repr, fti.read(declaration, stores=stores_in(home), as_="dicts", **options)))


def publish(home: Path) -> None:
    fti_command("publish", "adder", str(home / "graph.onnx"))(home)


def rollout_again(home: Path) -> None:
    fti_command("rollout", "stop", "late_model", *REASON)(home)
    fti_command("rollout", "start", "late_model", FIRST, "--key", "loan_id", *REASON)(home)


READS: dict[str, Entry] = {
    "models": fti_command("models"),
    "models of one": fti_command("models", "late_model"),
    "rollout status": fti_command("rollout", "status", "late_model"),
    "predict": predict,
    "serve": serve,
    "load by the repository": load_by_repository,
    "read_online": lambda home: fti.read_online("members_v1", ANN, at=AT, online=home / "online"),
    "read": read(library.members_v1),
    "read at": read(library.members_v1, at=AT),
    "read answers": read(library.answers),
    "read log": read(LOG),
    "describe": fti_command("describe", *SYSTEM),
    "search": fti_command("search", "late", *SYSTEM),
    "why": fti_command("why", "the-request", *SYSTEM),
    "forget, dry": fti_command("forget", "members", "--key", f"person={ANN}", "--dry-run", *SYSTEM),
    "lake check": fti_command("lake", "check", *SYSTEM),
    "lake check --contents": fti_command("lake", "check", "--contents", *SYSTEM),
}
WRITES: dict[str, Entry] = {
    "export": fti_command("models", "export", "late_model", "--to", "triton", "--out", "HOME/export"),
    "promote": fti_command("promote", "late_model", FIRST, *REASON),
    "rollback": fti_command("rollback", "late_model", *REASON),
    "rollout start": rollout_again,
    "rollout shift": fti_command("rollout", "shift", "late_model", "challenger=0.3", *REASON),
    "rollout stop": fti_command("rollout", "stop", "late_model", *REASON),
    "rollout promote": fti_command("rollout", "promote", "late_model", *REASON),
    "publish": publish,
    "bundle": fti_command("bundle", "late_model", "--answers-for", "7d", "--out", "HOME/one.zip"),
    "forget": fti_command("forget", "members", "--key", f"person={ANN}", *SYSTEM),
    "forget --expire": fti_command("forget", "members", "--key", f"person={ANN}", "--expire", *SYSTEM),
    "reset": fti_command("reset", "answers", "--yes", *SYSTEM),
    "lake repair": fti_command("lake", "repair"),
    "lake delete-unnamed": fti_command("lake", "delete-unnamed", "--yes"),
    "predictions": step(library.answers, partition_key=LAST),
    "group": step(library.members_v1, tags=range_tags(LAST, LAST)),
    "model": step(library.late_model, partition_key=library.CUTOFF),
    "log": step(LOG, partition_key=LAST),
}
ENTRIES = READS | WRITES
ANSWERS = ("predict", "read_online", "read", "read at", "read answers", "read log")
"""The reads that give values."""

AT_ONCE = [*list(READS)[:7], *list(WRITES)[:7]]
"""What takes no time, since no lake is opened."""


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores with every kind of file: a model of two builds with a rollout, a log with an answer taken in and one that waits."""
    library_of_all = made_once(tmp_path_factory, "library", lambda home: run_all(stores_without_log(home)))
    home = tmp_path_factory.mktemp("damage") / "seed"
    shutil.copytree(library_of_all, home)
    store = ModelStore(home / "models")
    champion = store.champion("late_model")
    first = replace(champion, build=FIRST.removeprefix("v1/"), cutoff="2025-01-01T00:00:00")
    folder = store.folder(champion)
    store.publish(
        first,
        (folder / "model.onnx").read_bytes(),
        "a card",
        {name: (folder / name).read_bytes() for name in first.files},
    )
    with clock.at(NOW):
        for build in (first, champion):
            store.promote("late_model", build.reference, expected=store.aliases("late_model").champion, reason="r")
        (home / "graph.onnx").write_bytes(constant_graph())
        publish_graph(store, "adder", constant_graph(), version=1, reason="r")
        rollout = Rollout("shadow", (Arm("challenger", first.reference, 0.5),), ("loan_id",), "s", NOW, "r")
        start_rollout(store, "late_model", rollout)
        options: Any = {name: home / name for name in ("models", "online", "log")}
        for waits in (False, True):
            with fti.Predictor.load("late_model", **options) as predictor:
                request_id = predictor.predict(REQUEST, at=AT).request_id
            if not waits:
                step(LOG, partition_key=LAST)(home)
    for log in (home / "log" / "late_model").glob("*.jsonl"):
        log.write_text(log.read_text().replace(request_id, "the-request"))
    rejected = home / "lake" / "rejected" / "members_v1"
    rejected.mkdir(parents=True)
    row = {"person": "bob-09ef12", "t": "2025-01-01T00:00:00", "borrowed": 1.0, "broken": ["rule"]}
    (rejected / "rows.jsonl").write_text("".join(json.dumps(row | {"borrowed": number}) + "\n" for number in range(3)))
    for file in home.glob("online/*.sqlite"):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home


def files_of(home: Path) -> dict[Path, dict[str, Damage]]:
    """Each kind of file of the stores, with what can become of it."""
    models, online, data = home / "models" / "late_model", home / "online", home / "lake" / "data"
    store = ModelStore(home / "models")
    champion, adder = store.folder(store.champion("late_model")), store.folder(store.champion("adder"))
    first = models / FIRST
    other_aliases = store.aliases_file("adder")
    in_place = {kind: damage for kind, damage in DAMAGE.items() if "folder" in kind or "link" in kind}
    parquet = {path.parts[-3]: path for path in sorted(data.rglob("*.parquet"))}
    other_day = min(data.glob("features/members_v1/*/*.parquet"))
    (log,) = (log for log in (home / "log" / "late_model").glob("*.jsonl") if "the-request" in log.read_text())
    others_manifests = {
        "another's": copy_of(first / "manifest.json"),
        "a graph's": copy_of(adder / "manifest.json"),
    }
    other_files = {
        "another's": copy_of(online / "visits_v1.sqlite"),
        "a catalog": copy_of(home / "lake" / "catalog.sqlite"),
    }
    return {
        models / "aliases.json": {**DAMAGE, **JSON, "another's": copy_of(other_aliases)},
        champion / "manifest.json": {**DAMAGE, **JSON} | others_manifests,
        first / "manifest.json": {**DAMAGE, **JSON},
        champion / "model.onnx": {**DAMAGE, "another's": copy_of(adder / "model.onnx")},
        champion / "samples.json": {**DAMAGE, **JSON},
        champion / "card.md": DAMAGE,
        models / ".lock": in_place,
        online / "members_v1.sqlite": {**DAMAGE, **ONLINE} | other_files,
        online / ".members_v1.lock": in_place,
        home / "lake" / "catalog.sqlite": {**DAMAGE, "another's": copy_of(online / "members_v1.sqlite")},
        home / "lake" / "lake.lock": in_place,
        parquet["members_v1"]: {**DAMAGE, "another's": copy_of(other_day)},
        parquet["loans_v1"]: {**DAMAGE, "another's": copy_of(other_day)},
        parquet["late_dataset_v1"]: {**DAMAGE, "another's": copy_of(other_day)},
        parquet["answers_v1"]: {**DAMAGE, "another's": copy_of(other_day)},
        parquet["late_log_v1"]: {**DAMAGE, "another's": copy_of(other_day)},
        log: {**DAMAGE, **LINES},
        home / "lake" / "rejected" / "members_v1" / "rows.jsonl": {**DAMAGE, **LINES},
    }  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr("fti_assets.stores.models.graph_trial.check_graph", lambda *arguments, **options: None)
    return tmp_path / "home"


def outcome(entry: str, home: Path) -> tuple[Any, str]:
    """What an entry gives, or the text of the library's error; any other exception fails the test."""
    try:
        return ENTRIES[entry](home), ""
    except (FtiError, Refused) as error:
        return None, str(error)


def check(
    seed: Path, home: Path, file: Path, kind: str, damage: Damage, entries: Iterable[str], expected: dict[str, Any]
) -> None:
    """Damage a copy of the stores, and go in by each entry: it does right, or says what is damaged and changes nothing."""
    inside, before = file.relative_to(seed), None
    for entry in entries:
        case = f"{inside}, {kind}, {entry}"
        if before is None:
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(seed, home)
            damage(home / inside, random.Random(f"{inside} {kind}"))
            before = content_of(home)
        try:
            value, text = outcome(entry, home)
        except BaseException as error:
            raise AssertionError(case) from error
        after = content_of(home)
        if text:
            names = (inside.name, str(inside.parent), f"{inside.parts[1]!r}", inside.parts[1].partition(".")[0])
            assert kind == "missing" or any(name in text for name in names), f"{case}: {text}"
            assert len(text) < 10_000, case
        elif entry in READS:
            assert value == expected.get(entry), case
        stays = entry in READS or (text and entry not in STEPS)
        assert not stays or before == after, f"{case}: {text} {sorted(set(before.items()) ^ set(after.items()))}"
        before = before if before == after else None


STEPS = ("predictions", "group", "model", "log", "rollout start")
"""What changes something before it comes to the damage: checks and rejected rows, and a rollout that is stopped first."""


@pytest.fixture(scope="module")
def expected(seed: Path) -> dict[str, Any]:
    """What whole stores answer."""
    return {entry: one(seed) for entry, one in READS.items() if entry in ANSWERS}


def test_every_entry_works_with_whole_stores(seed: Path, home: Path) -> None:
    chance = random.Random(10)
    for entry in [
        *AT_ONCE,
        *([one for one in ENTRIES if one not in AT_ONCE] if SOAK else chance.sample([*STEPS[:4]], 1)),
    ]:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(seed, home)
        ENTRIES[entry](home)


def test_damage_is_named_or_harmless_where_no_lake_is_opened(seed: Path, home: Path, expected: dict[str, Any]) -> None:
    chance = random.Random(11)
    for file, damages in files_of(seed).items():
        if file.relative_to(seed).parts[0] in ("models", "online"):
            for kind in chance.sample(sorted(damages), 2):
                check(seed, home, file, kind, damages[kind], chance.sample(AT_ONCE, 4), expected)


def test_damage_is_named_or_harmless_in_the_lake(seed: Path, home: Path, expected: dict[str, Any]) -> None:
    chance = random.Random(12)
    rest = [entry for entry in ENTRIES if entry not in AT_ONCE]
    for file, damages in chance.sample([*files_of(seed).items()], 6):
        kind = chance.choice(sorted(damages))
        check(seed, home, file, kind, damages[kind], chance.sample(rest, 1), expected)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(18))
def test_every_damage_of_a_file_before_every_entry(
    seed: Path, home: Path, expected: dict[str, Any], number: int
) -> None:
    file, damages = [*files_of(seed).items()][number]
    for kind, damage in damages.items():
        check(seed, home, file, kind, damage, ENTRIES, expected)
