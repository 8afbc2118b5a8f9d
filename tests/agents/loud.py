"""Definitions that print while they load."""

from tests.report.world import DEFS

__all__ = ["DEFS"]

print("this is no message")
