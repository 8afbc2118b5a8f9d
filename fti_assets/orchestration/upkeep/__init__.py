"""The job that keeps the lake small, and what Dagster recorded of it."""
