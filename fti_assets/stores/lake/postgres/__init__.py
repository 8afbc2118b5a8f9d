"""A lake whose catalog is a Postgres database, for several machines: where it is, its lock, and what became of a commit."""
