"""The Parquet files of a lake: those of its newest snapshot, damaged ones, and those of another catalog."""
