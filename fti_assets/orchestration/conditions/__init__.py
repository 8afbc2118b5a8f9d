"""Automation conditions, and how far a change reaches."""
