"""The model of ``docs/scale.md``: its lines meet what is held out, its arithmetic is that of a hand, and nonsense is refused."""

import json
from pathlib import Path

import pytest

from benchmarks import scale_model
from benchmarks.scale_model import Demand, Quantity, machines, needs, quantities


def demand(**changes: float) -> Demand:
    options = vars(scale_model.parser().parse_args(["--entities", "1e8", "--events", "1e9"]))
    del options["core_hour"], options["gb_month"]
    return Demand(**{**options, **changes})


def test_held_out_points_are_met_within_30_percent() -> None:
    known = quantities()
    errors = {(name, error.size): error.relative for name, one in known.items() for error in one.errors()}
    assert len(errors) >= 10
    assert {at: error for at, error in errors.items() if abs(error) > scale_model.GOAL} == {}


def test_the_page_shows_the_errors_and_the_cost_of_today() -> None:
    page = (Path(__file__).parent.parent / "docs" / "scale.md").read_text()
    errors = [error.relative for one in quantities().values() for error in one.errors()]
    displayed = [f"{error:+.0%}".replace("%", " %").replace("+0", "0").replace("-0", "0") for error in errors]
    assert [text for text in displayed if text not in page] == []
    of_all = machines(quantities(), demand())
    assert f"a month costs {of_all.cost(demand(), 0.05, 0.02):,.0f}" in page


def test_no_held_out_point_is_one_that_a_line_was_fitted_to() -> None:
    for one in quantities().values():
        assert {size for size, _ in one.fitted}.isdisjoint(size for size, _ in one.held_out)


def test_a_line_goes_through_its_fitted_points() -> None:
    through_zero = Quantity("s", "rows", "", "", ((4.0, 2.0),), ())
    through_two = Quantity("s", "rows", "", "", ((1.0, 5.0), (3.0, 9.0)), ((6.0, 10.0),))
    assert (through_zero.at(0), through_zero.at(6)) == (0, 3)
    assert (through_two.at(1), through_two.at(3), through_two.at(6)) == (5, 9, 15)
    assert [error.relative for error in through_two.errors()] == [0.5]


def test_a_model_that_misses_a_point_says_so_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = json.loads(scale_model.CONSTANTS.read_text())
    records["redis_bytes"]["held_out"] = [[0.3, 2 * quantities()["redis_bytes"].at(0.3)]]
    changed = tmp_path / "constants.json"
    changed.write_text(json.dumps(records))
    monkeypatch.setattr(scale_model, "quantities", lambda: quantities(changed))
    assert scale_model.main(["--entities", "1e6", "--events", "1e7"]) == 1
    assert "-50%" in capsys.readouterr().out


def test_memory_of_redis_is_the_scarcest_of_a_hundred_million_entities() -> None:
    known = quantities()
    first = needs(known, demand())[0]
    bytes_a_key = known["redis_bytes"].slope / 1e6
    assert first.what == "the groups in Redis"
    assert first.share == pytest.approx(3 * 1e8 * bytes_a_key / 0.7 / 64e9, rel=0.01)


def test_a_join_that_one_machine_cannot_do_is_done_on_spark() -> None:
    known = quantities()
    small, large = demand(ttl_days=1.0), demand(training_rows=1e12)
    assert (machines(known, small).joins_on_spark, machines(known, large).joins_on_spark) == (False, True)
    join_hours = 3 * known["join_cpu_s"].at(1e6 + 3_000) / 3600
    assert machines(known, large).batch_core_hours > 7.7 * join_hours


def test_the_cost_is_what_a_hand_adds_up() -> None:
    requests = demand(cores=10.0)
    of_all = scale_model.Machines(
        batch=1, servers=2, redis=3, batch_core_hours=4.0, lake_gb=1000.0, joins_on_spark=False
    )
    assert of_all.cost(requests, core_hour=0.5, gb_month=0.1) == pytest.approx(
        (4 * 30 + 5 * 10 * 720) * 0.5 + 1000 * 0.1
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--events", "1e9"], "--entities"),
        (["--entities", "many", "--events", "1e9"], "'many' is not a number"),
        (["--entities", "nan", "--events", "1e9"], "nan is not from 1 to"),
        (["--entities", "1e8", "--events", "-1"], "-1 is not from 1 to"),
        (["--entities", "1e8", "--events", "inf"], "inf is not from 1 to"),
        (["--entities", "1e8", "--events", "1e9", "--hours", "25"], "25 is not from 0.1 to 24"),
        (["--entities", "1e8", "--events", "1e9", "--cores", "0"], "0 is not from 1 to"),
        (["--entities", "1e8", "--events", "1e9", "--core-hour", "0.05"], "go together"),
    ],
)
def test_nonsense_is_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        scale_model.main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
