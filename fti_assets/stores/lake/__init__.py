"""The offline store: a lake on DuckLake."""
