"""CPU time and memory of validating a table over those of one query written by hand that counts the same failures.

``python benchmarks/validation.py [rows]`` makes a table of ten million rows and 20 columns in DuckDB: ids that are unique, ten
numbers in a range, four whole numbers, four texts (two of a list, one of a pattern, one of a length) and times. Each way runs in
processes of its own over the same table: ours, the query, and Pandera over a pandas frame of a million rows.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pandera.pandas as pa

from fti_assets.features.validation.table_validation import validate_table

ROWS, PEER_ROWS, RUNS = 10_000_000, 1_000_000, 3
GOAL, MEMORY_GOAL = 1.2, 1.5
CODES = tuple(f"c{number}" for number in range(20))
SINCE = "2024-01-01"

SCHEMA = pa.DataFrameSchema(
    {
        "id": pa.Column(int, unique=True),
        **{f"number_{n}": pa.Column(float, pa.Check.in_range(0, 99.9), nullable=True) for n in range(10)},
        **{f"whole_{n}": pa.Column(int, [pa.Check.ge(0), pa.Check.lt(1000)]) for n in range(4)},
        "code_0": pa.Column(str, pa.Check.isin(CODES)),
        "code_1": pa.Column(str, pa.Check.isin(CODES)),
        "matched": pa.Column(str, pa.Check.str_matches("[a-z]+-[0-9]+")),
        "measured": pa.Column(str, pa.Check.str_length(1, 8)),
        "taken_at": pa.Column("datetime64[us]", pa.Check.ge(pd.Timestamp(SINCE))),
    }
)


def make(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    """One row in a thousand breaks a rule of its column; one number in ten is null."""
    bad = "hash(i, {seed}) % 1000 = 0"
    columns = ["i AS id"]
    for n in range(10):
        value = f"CASE WHEN {bad.format(seed=n)} THEN -1.0 ELSE (hash(i, {n + 20}) % 1000)::DOUBLE / 10 END"
        columns.append(f"CASE WHEN hash(i, {n + 40}) % 10 > 0 THEN {value} END AS number_{n}")
    columns += [f"CASE WHEN {bad.format(seed=n + 10)} THEN -1 ELSE (hash(i, {n + 60}) % 1000)::BIGINT END AS whole_{n}"
                for n in range(4)]  # fmt: skip
    columns += [f"'c' || (hash(i, {n + 70}) % {20 + n}) AS code_{n}" for n in range(2)]
    columns.append(f"CASE WHEN {bad.format(seed=14)} THEN '?' ELSE 'ab-' || (hash(i, 80) % 1000) END AS matched")
    columns.append("'x' || (hash(i, 81) % 10000000) AS measured")
    columns.append(f"TIMESTAMP '{SINCE}' + to_seconds((hash(i, 82) % 10000000)::BIGINT) AS taken_at")
    connection.execute(f"CREATE TEMP TABLE readings AS SELECT {', '.join(columns)} FROM range({rows}) r(i)")


def by_hand(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    counted = {"id_unique": "count(*) - count(DISTINCT id)"}
    counted |= {f"{name}_not_null": f"count(*) - count({name})" for name, c in SCHEMA.columns.items() if not c.nullable}
    counted |= {f"number_{n}_in_range": f"count_if(number_{n} < 0 OR number_{n} > 99.9)" for n in range(10)}
    counted |= {f"whole_{n}_greater_than_or_equal_to": f"count_if(whole_{n} < 0)" for n in range(4)}
    counted |= {f"whole_{n}_less_than": f"count_if(whole_{n} >= 1000)" for n in range(4)}
    counted |= {f"code_{n}_isin": f"count_if(code_{n} NOT IN {CODES})" for n in range(2)}
    counted["matched_str_matches"] = "count_if(NOT regexp_matches(matched, '^[a-z]+-[0-9]+'))"
    counted["measured_str_length"] = "count_if(NOT length(measured) BETWEEN 1 AND 8)"
    counted["taken_at_greater_than_or_equal_to"] = f"count_if(taken_at < TIMESTAMP '{SINCE}')"
    selected = ", ".join(f"{sql} AS {name}" for name, sql in counted.items())
    answer = connection.execute(f"SELECT {selected} FROM readings").fetchall()[0]
    return dict(zip(counted, answer, strict=True))


def ours(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return {one.rule.name: one.failures for one in validate_table(connection, "readings", SCHEMA).verdicts}


def by_pandera(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    frame = connection.table("readings").df()
    connection.execute("DROP TABLE readings")
    start = time.process_time()
    failures: dict[str, int] = {}
    try:
        SCHEMA.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        failures = (cases["column"] + "_" + cases["check"]).value_counts().to_dict()
    failures["cpu_s"] = time.process_time() - start  # type: ignore[assignment]
    return failures


WAYS: dict[str, Callable[[duckdb.DuckDBPyConnection], dict[str, int]]] = {
    "by_hand": by_hand,
    "ours": ours,
    "pandera": by_pandera,
}


def run(way: str, file: str) -> None:
    """One way in this process: its CPU seconds, and the most memory that it had meanwhile, the table included."""
    with duckdb.connect() as connection:
        connection.execute("SET threads=2; SET TimeZone='UTC'; SET python_enable_replacements=false")
        connection.execute(f"CREATE TEMP TABLE readings AS FROM '{file}'")
        connection.execute("SELECT count(*) FROM readings").fetchall()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        start = time.process_time()
        failures = WAYS[way](connection)
        cpu_s = time.process_time() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    peak_mb = int(peak.split()[1]) / 1024
    print(json.dumps({"cpu_s": failures.pop("cpu_s", cpu_s), "peak_mb": peak_mb, "failures": failures}))


def measured(way: str, file: Path) -> dict[str, float | dict[str, int]]:
    answers = []
    for _ in range(RUNS):
        printed = subprocess.run([sys.executable, __file__, way, str(file)], check=True, capture_output=True, text=True)
        answers.append(json.loads(printed.stdout.splitlines()[-1]))
    medians = {name: statistics.median(answer[name] for answer in answers) for name in ("cpu_s", "peak_mb")}
    print(f"{way}: {medians['cpu_s']:.2f} CPU s, peak {medians['peak_mb']:.0f} MB", flush=True)
    return {**medians, "failures": answers[0]["failures"]}


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        files = {size: Path(name) / f"{size}.parquet" for size in {rows, min(rows, PEER_ROWS)}}
        for size, file in files.items():
            with duckdb.connect() as connection:
                make(connection, size)
                connection.execute(f"COPY readings TO '{file}'")
        hand, our = measured("by_hand", files[rows]), measured("ours", files[rows])
        pandera = measured("pandera", files[min(rows, PEER_ROWS)])
    our_failures: dict[str, int] = our["failures"]  # type: ignore[assignment]
    counted: dict[str, int] = hand["failures"]  # type: ignore[assignment]
    different = [name for name, count in counted.items() if our_failures[name] != count]
    result = {
        "benchmark": "validation",
        "ratio": round(our["cpu_s"] / hand["cpu_s"], 3),  # type: ignore[operator]
        "goal": GOAL,
        "memory_ratio": round(our["peak_mb"] / hand["peak_mb"], 3),  # type: ignore[operator]
        "memory_goal": MEMORY_GOAL,
        "rows": rows,
        "ours_cpu_s": round(our["cpu_s"], 2),  # type: ignore[arg-type]
        "by_hand_cpu_s": round(hand["cpu_s"], 2),  # type: ignore[arg-type]
        "pandera_cpu_s": round(pandera["cpu_s"], 2),  # type: ignore[arg-type]
        "pandera_rows": min(rows, PEER_ROWS),
        "pandera_peak_mb": round(pandera["peak_mb"]),  # type: ignore[arg-type]
        "differences": len(different),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run(sys.argv[1], sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
