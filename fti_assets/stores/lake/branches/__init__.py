"""Branches of a lake: lakes of their own that share the files of another, and write beside them."""
