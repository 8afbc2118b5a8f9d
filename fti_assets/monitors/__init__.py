"""Monitors: assets that judge a system as it runs, each partition in a table of its own."""
