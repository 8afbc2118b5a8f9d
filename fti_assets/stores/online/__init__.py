"""The online store: the newest rows of a key, in SQLite files or in Redis."""
