"""The columns of a table of the lake: their types, those that files of earlier types have, and placeholders for what has none yet."""
