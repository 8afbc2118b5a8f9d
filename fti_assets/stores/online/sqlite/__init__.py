"""The embedded online store: one SQLite file a namespace."""
