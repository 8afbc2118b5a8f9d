"""A rollout, end to end: each key is answered by the build of its arm, whole, and servers that run follow each change."""

from __future__ import annotations

import gc
import json
import logging
import re
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from fti_assets.cli import main
from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.errors import AliasConflictError, DamagedError, RequestError, StoreError
from fti_assets.inference.server import serving_app
from fti_assets.inference.serving.open_predictor import OpenPredictor
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.rollouts import change_shares, promote_arm, start_rollout, stop_rollout
from fti_assets.stores.online.store import online_store
from tests.inference.server.test_app import AT, PLAIN, infer, tensors
from tests.inference.test_predictor import NOON, REQUEST, World, world
from tests.stores.online_stores import load
from tests.support.serving import ask

__all__ = ["world"]

FLIGHTS = [REQUEST | {"flight_id": number} for number in range(60)]


def rollout(build: str, share: float = 0.5, *, kind: str = "canary", key: tuple[str, ...] = ("flight_id",)) -> Rollout:
    return Rollout(kind, (Arm("challenger", build, share),), key, "salt", "2013-06-01T00:00:00", "to try")  # type: ignore[arg-type]


@pytest.fixture
def challenger(world: World) -> str:
    return world.publish(2, shift=10_000.0).reference


def expected(world: World, going: Rollout, challenger: str) -> list[tuple[str, Any, str]]:
    """What each flight is answered: the arm by its key, and the answer of that build alone."""
    alone = {
        "challenger": world.load(build=challenger),
        "champion": world.load(build=world.models.aliases("delay_net").champion),
    }
    answers = []
    for flight in FLIGHTS:
        arm = going.arm_of([flight[name] for name in going.key])
        name = arm.name if arm else "champion"
        answer = alone[name].predict(flight, at=NOON)
        answers.append((name, answer.value, answer.build))
    assert {name for name, *_ in answers} == {"champion", "challenger"}
    return answers


def test_each_key_is_answered_by_the_build_of_its_arm(world, challenger):
    going = rollout(challenger)
    start_rollout(world.models, "delay_net", going)
    predictor = world.load()
    wanted = expected(world, going, challenger)
    together = predictor.predict(FLIGHTS, at=NOON)
    apart = [predictor.predict(flight, at=NOON) for flight in FLIGHTS]
    names = list(FLIGHTS[0])
    columns = predictor.predict_columns({name: [flight[name] for flight in FLIGHTS] for name in names}, at=NOON)
    for answers in (together, apart, list(columns)):
        assert [(one.arm, one.value, one.build) for one in answers] == wanted
    assert list(columns) == together
    assert predictor.features(FLIGHTS, at=NOON) == [one.features for one in together]


def test_running_predictors_follow_start_shares_and_stop(world, challenger):
    predictor = world.load()
    assert {one.arm for one in predictor.predict(FLIGHTS, at=NOON)} == {"champion"}
    start_rollout(world.models, "delay_net", rollout(challenger, 0.1))
    few = {place for place, one in enumerate(predictor.predict(FLIGHTS, at=NOON)) if one.arm != "champion"}
    change_shares(world.models, "delay_net", {"challenger": 0.9}, reason="it does well")
    many = {place for place, one in enumerate(predictor.predict(FLIGHTS, at=NOON)) if one.arm != "champion"}
    assert few < many
    stop_rollout(world.models, "delay_net", reason="enough")
    assert {one.arm for one in predictor.predict(FLIGHTS, at=NOON)} == {"champion"}
    assert [change.event for change in world.models.aliases("delay_net").rollouts] == [
        "started",
        "shares changed",
        "stopped",
    ]


def test_an_arm_becomes_champion_and_its_rollout_ends_in_one_change(world, challenger):
    start_rollout(world.models, "delay_net", rollout(challenger))
    predictor = world.load()
    aliases = promote_arm(world.models, "delay_net", "challenger", reason="it won")
    assert (aliases.champion, aliases.rollout) == (challenger, None)
    answers = predictor.predict(FLIGHTS, at=NOON)
    assert {(one.arm, one.build) for one in answers} == {("champion", challenger)}


def test_promoting_the_build_of_an_arm_ends_it_and_another_build_does_not(world, challenger):
    start_rollout(world.models, "delay_net", rollout(challenger))
    world.promote(world.publish(3, shift=1.0))
    assert world.models.aliases("delay_net").rollout == rollout(challenger)
    world.promote(world.models.manifest("delay_net", challenger))
    assert world.models.aliases("delay_net").rollout is None


def test_wrong_requests_are_told_by_their_place_whatever_their_arm(world, challenger):
    start_rollout(world.models, "delay_net", rollout(challenger))
    wrong = [*FLIGHTS[:40], REQUEST | {"flight_id": 7, "distance": "far"}]
    with pytest.raises(RequestError, match="request 40: 'distance' is 'far'"):
        world.load().predict(wrong, at=NOON)


def test_overrides_of_each_request_go_with_it(world, challenger):
    going = rollout(challenger)
    start_rollout(world.models, "delay_net", going)
    overrides = [{"temp": float(number)} for number in range(len(FLIGHTS))]
    answers = world.load().predict(FLIGHTS, at=NOON, overrides=overrides)
    assert [one.features["temp"] for one in answers] == [float(number) for number in range(len(FLIGHTS))]


def test_the_champion_answers_for_an_arm_that_cannot_be_loaded(world, challenger, caplog):
    start_rollout(world.models, "delay_net", rollout(challenger, 1.0))
    (world.models.root / "delay_net" / challenger / "model.onnx").write_bytes(b"damage")
    with caplog.at_level(logging.WARNING):
        answer = world.load().predict(REQUEST, at=NOON)
    assert answer.arm == "champion"
    assert "arm 'challenger' of model 'delay_net' cannot be loaded, its champion answers for it" in caplog.text


def test_a_pinned_build_has_no_arms(world, challenger):
    champion = world.models.aliases("delay_net").champion
    start_rollout(world.models, "delay_net", rollout(challenger, 1.0))
    assert world.load(build=champion).predict(REQUEST, at=NOON).arm == "champion"


def test_a_shadow_answers_nobody_and_stands_in_the_log(world, challenger, tmp_path):
    going = rollout(challenger, kind="shadow")
    start_rollout(world.models, "delay_net", going)
    with world.load(log=tmp_path / "log") as predictor:
        answers = predictor.predict(FLIGHTS, at=NOON)
        predictor.shadows.wait()
    assert {one.arm for one in answers} == {"champion"}
    logged = [
        line for file in (tmp_path / "log").rglob("*") if file.is_file() for line in file.read_text().splitlines()
    ]
    rows = [row for row in map(json.loads, logged) if "value" in row]
    shadows = [row for row in rows if row["arm"] == "challenger"]
    assert len([row for row in rows if row["arm"] == "champion"]) == len(FLIGHTS)
    requests = [flight["flight_id"] for flight in FLIGHTS if going.arm_of([flight["flight_id"]])]
    assert [row["request"]["flight_id"] for row in shadows] == requests
    alone = world.load(build=challenger)
    assert [row["value"] for row in shadows] == [
        alone.predict(flight, at=NOON).value for flight in FLIGHTS if going.arm_of([flight["flight_id"]])
    ]
    assert {row["request_id"] for row in shadows} == {f"{answers[0].request_id}~challenger"}


def test_what_if_has_no_shadow_and_columns_have_one(world, challenger, tmp_path):
    start_rollout(world.models, "delay_net", rollout(challenger, 1.0, kind="shadow"))
    with world.load(log=tmp_path / "log") as predictor:
        predictor.predict(FLIGHTS, at=NOON, overrides={"temp": 1.0})
        predictor.shadows.wait()
        assert not predictor.shadows.counts
        columns = {name: [flight[name] for flight in FLIGHTS] for name in FLIGHTS[0]}
        assert {one.arm for one in predictor.predict_columns(columns, at=NOON)} == {"champion"}
        predictor.shadows.wait()
        assert predictor.shadows.counts == {"predicted": len(FLIGHTS)}


def test_a_champion_whose_requests_tell_no_arm_serves_alone(world, challenger, caplog):
    going = rollout(challenger, 1.0, key=("user",))  # as a rollout stands that began before this champion
    world.models.change_aliases("delay_net", lambda aliases: replace(aliases, rollout=going))
    with caplog.at_level(logging.WARNING):
        answer = world.load().predict(REQUEST, at=NOON)
    assert (answer.arm, answer.build) == ("champion", world.models.aliases("delay_net").champion)
    assert "is served without its rollout: the rollout of model 'delay_net' goes by the field 'user'" in caplog.text


def test_a_shadow_that_fails_fails_no_answer_and_is_counted(world, challenger, tmp_path, monkeypatch):
    start_rollout(world.models, "delay_net", rollout(challenger, 1.0, kind="shadow"))
    with world.load(log=tmp_path / "log") as predictor:
        serving: Any = predictor.serving

        def fail(*_: Any, **__: Any) -> Any:
            raise DamagedError("broken")

        monkeypatch.setattr(serving.builds["challenger"], "predict", fail)
        assert len(predictor.predict(FLIGHTS, at=NOON)) == len(FLIGHTS)
        predictor.shadows.wait()
    assert predictor.shadows.counts == {"failed": len(FLIGHTS)}


def test_the_thread_of_a_shadow_ends_with_its_predictor_closed_or_forgotten() -> None:
    def asked() -> tuple[OpenPredictor, threading.Thread]:
        predictor = OpenPredictor(served=cast(Any, SimpleNamespace(name="m", close=lambda: None)))
        with predictor.shadows._changed:
            predictor.shadows._begin(0)
        thread = predictor.shadows._thread
        assert thread is not None
        assert thread.is_alive()
        return predictor, thread

    predictor, closed = asked()
    predictor.close()
    forgotten = asked()[1]
    gc.collect()
    for thread in (closed, forgotten):
        thread.join(10)
        assert not thread.is_alive()


def test_the_server_counts_what_its_shadow_does(world, challenger):
    start_rollout(world.models, "delay_net", rollout(challenger, 1.0, kind="shadow"))
    app = serving_app("delay_net", models=world.models.root, online=world.online.root)
    flights = [PLAIN | {"flight_id": flight["flight_id"]} for flight in FLIGHTS]
    ask(app, "POST", f"/predict/delay_net?at={AT}", flights)
    served: Any = app.repository.get("delay_net")  # without a log, too
    shadows = served.predictor.shadows
    shadows.wait()
    champion = world.load(build=world.models.aliases("delay_net").champion).predict(FLIGHTS, at=NOON)
    other = world.load(build=challenger).predict(FLIGHTS, at=NOON)
    distance = sum(abs(one.value - two.value) for one, two in zip(champion, other, strict=True))
    assert distance > 1

    def counted(name: str, labels: str = "") -> float:
        text = ask(app, "GET", "/metrics").body.decode()
        [value] = re.findall(rf'^{name}{{arm="challenger",model="delay_net"{labels}}} (\S+)$', text, re.MULTILINE)
        return float(value)

    assert counted("fti_shadow_rows_total", ',result="predicted"') == len(FLIGHTS)
    assert counted("fti_shadow_seconds_count") == 1
    assert counted("fti_shadow_seconds_sum") > 0
    assert counted("fti_shadow_distance_total") == pytest.approx(distance)
    assert counted("fti_shadow_disagreements_total") == 0  # values of a regression decide nothing


def test_a_shadow_that_hangs_or_cannot_be_counted_delays_no_answer(world, challenger, monkeypatch):
    start_rollout(world.models, "delay_net", rollout(challenger, 1.0, kind="shadow"))
    app = serving_app("delay_net", models=world.models.root, online=world.online.root)
    served: Any = app.repository.get("delay_net")
    flights = [PLAIN | {"flight_id": flight["flight_id"]} for flight in FLIGHTS]
    wanted = ask(app, "POST", f"/predict/delay_net?at={AT}", flights).json["predictions"]
    served.predictor.shadows.wait()
    go_on = threading.Event()
    of_shadow = served.predictor.serving.builds["challenger"]
    real = of_shadow.predict

    def hang(*arguments: Any, **named: Any) -> Any:
        go_on.wait(30)
        return real(*arguments, **named)

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(of_shadow, "predict", hang)
    monkeypatch.setattr(app.answering.metrics, "count_shadow", fail)
    requests = 0
    while served.predictor.shadows.counts["dropped"] == 0:  # its queue is full by then
        answer = ask(app, "POST", f"/predict/delay_net?at={AT}", flights)
        assert (answer.status, answer.json["predictions"]) == (200, wanted)
        assert (requests := requests + 1) < 1_000
    go_on.set()
    served.predictor.shadows.wait()
    assert served.predictor.shadows.counts["predicted"] == requests * len(FLIGHTS)


def test_the_server_says_the_arm_of_each_answer_and_counts_it(world, challenger):
    going = rollout(challenger)
    start_rollout(world.models, "delay_net", going)
    app = serving_app("delay_net", models=world.models.root, online=world.online.root)
    flights = [PLAIN | {"flight_id": flight["flight_id"]} for flight in FLIGHTS]
    wanted = expected(world, going, challenger)
    messages = ask(app, "POST", f"/predict/delay_net?at={AT}", flights).json["predictions"]
    assert [(one["arm"], one["value"], one["build"]) for one in messages] == wanted
    tensor = infer(app, tensors(*flights)).json
    assert np.allclose(tensor["outputs"][0]["data"], [value for _, value, _ in wanted])
    assert tensor["parameters"]["arms"] == [arm for arm, *_ in wanted]
    assert tensor["parameters"]["builds"] == [build for *_, build in wanted]
    count = 2 * len([arm for arm, *_ in wanted if arm == "challenger"])
    metrics = ask(app, "GET", "/metrics").body.decode()
    assert f'fti_predictions_total{{arm="challenger",build="{challenger}",model="delay_net"}} {count}.0' in metrics


def test_what_cannot_be_an_arm_is_refused_and_changes_nothing(world, challenger):
    before = world.models.aliases_file("delay_net").read_bytes()
    rejected = world.publish(4, status="rejected").reference
    champion = world.models.aliases("delay_net").champion
    view = world.view()
    wider = world.publish(
        5, view=replace(view, request=(*view.request, replace(view.request[0], name="seat")))
    ).reference
    for going, message in (
        (rollout(rejected), "cannot be an arm: it is rejected"),
        (rollout(str(champion)), "cannot be an arm: it is the champion itself"),
        (rollout("v1/20130601T000000Z-99999999"), "has no build"),
        (rollout(challenger, key=("user",)), "no field 'user'"),
        (rollout(wider), "cannot be an arm: it takes 'seat'"),
        (rollout(challenger, 1.5), "between 0 and 1"),
    ):
        with pytest.raises(StoreError, match=message):
            start_rollout(world.models, "delay_net", going)
    assert world.models.aliases_file("delay_net").read_bytes() == before
    start_rollout(world.models, "delay_net", rollout(challenger))
    with pytest.raises(AliasConflictError, match="has a rollout already"):
        start_rollout(world.models, "delay_net", rollout(challenger))


def test_the_command_line_starts_shifts_promotes_and_says(world, challenger, capsys):
    models = ["--models", str(world.models.root)]
    why = ["--reason", "to try"]
    assert main(["rollout", "status", "delay_net", *models]) == 0
    assert "has no rollout" in capsys.readouterr().out
    assert (
        main(["rollout", "start", "delay_net", challenger, "--share", "0.25", "--key", "flight_id", *why, *models]) == 0
    )
    output = capsys.readouterr().out
    assert f"challenger  {challenger}  25.0%" in output
    assert "75.0%" in output
    assert main(["rollout", "shift", "delay_net", "challenger=0.5", *why, *models]) == 0
    assert main(["rollout", "shift", "delay_net", "challenger=much", *why, *models]) != 0
    assert "is no share" in capsys.readouterr().err
    assert main(["rollout", "promote", "delay_net", *why, *models]) == 0
    assert world.models.aliases("delay_net").champion == challenger
    assert main(["rollout", "stop", "delay_net", *why, *models]) != 0
    assert "has no rollout" in capsys.readouterr().err
    assert main(["rollout", "status", "delay_net", *models]) == 0
    assert "promoted challenger" in capsys.readouterr().out


def test_rollouts_ask_what_is_served_online(world, challenger, tmp_path, capsys):
    [join, *_] = world.models.manifest("delay_net", challenger).view.joins
    load(online_store(tmp_path / "other"), [], f"{join.group}_v99", snapshot=1)
    stores = ["--models", str(world.models.root), "--online"]
    why, other = ["--reason", "to try"], str(tmp_path / "other")
    start = ["rollout", "start", "delay_net", challenger, "--key", "flight_id", *why, *stores]
    assert main([*start, other]) != 0
    assert f"cannot be an arm, nothing was changed: it reads '{join.table_name}'" in capsys.readouterr().err
    assert world.models.aliases("delay_net").rollout is None
    assert main([*start, str(world.online.root)]) == 0
    assert main(["rollout", "promote", "delay_net", *why, *stores, other]) != 0
    assert "cannot be champion" in capsys.readouterr().err
    assert world.models.aliases("delay_net").rollout is not None


def test_loading_is_what_it_was_without_a_rollout(world):
    assert type(world.load().serving).__name__ == "ServedBuild"
    assert isinstance(world.load(), Predictor)
