"""Memory of batch answers does not grow with their rows: what DuckDB's share does not hold goes to disk."""

import pytest

from benchmarks.batch_memory import peak_mb


@pytest.mark.soak
def test_memory_is_flat_from_300_thousand_to_3_million_rows() -> None:
    few, many = (peak_mb(rows, memory="128MB") for rows in (300_000, 3_000_000))
    assert many <= 1.3 * few
