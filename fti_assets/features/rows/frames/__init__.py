"""The frames that a group's function returns, of any library, as relations of DuckDB."""
