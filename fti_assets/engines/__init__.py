"""Where a plan runs: in DuckDB within the step, or on Spark."""
