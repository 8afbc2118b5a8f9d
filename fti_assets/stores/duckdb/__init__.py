"""DuckDB: its extensions, secrets, relations and times as text."""
