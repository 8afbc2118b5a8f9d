"""Which engine a plan is given, by rows, memory and cores."""

import pytest

from fti_assets.engines.choice import JOIN_SPEED, PlanSize, Room, choose

ROOM = Room(memory=4 * 10**9, threads=2)


@pytest.mark.parametrize(
    ("rows", "cores", "has_spark", "engine", "why"),
    [
        (1_000_000, None, True, "duckdb", "about 0.1 GB, of the 4.0 GB that DuckDB has"),
        (1_000_000, 1_000, True, "duckdb", "and about 0.4 s on its 2 threads, where Spark takes 10.0 s on 1000 cores"),
        (100_000_000, None, True, "spark", "about 5.6 GB, more than the 4.0 GB that DuckDB has"),
        (100_000_000, 2, True, "spark", "more than the 4.0 GB"),
        (100_000_000, None, False, "duckdb", "there is no Spark among the stores"),
        (70_000_000, 16, True, "duckdb", "of the 4.0 GB"),
        (70_000_000, 64, True, "spark", "about 21.1 s on its 2 threads, where Spark takes 13.8 s on 64 cores"),
    ],
)
def test_a_plan_goes_where_it_fits_and_is_faster(
    rows: int, cores: int | None, has_spark: bool, engine: str, why: str
) -> None:
    choice = choose(PlanSize("g_v1", rows, 2, JOIN_SPEED), ROOM, cores=cores, has_spark=has_spark)
    assert choice.engine == engine
    assert why in choice.why
