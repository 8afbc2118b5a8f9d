"""Evaluation of a build, the gates, and its pictures."""
