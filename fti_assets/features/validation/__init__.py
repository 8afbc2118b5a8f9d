"""Validation: a Pandera schema judged in SQL as far as SQL says the same."""
