"""The trained week of visits, whose predictions are watched."""

from tests.inference.conftest import bench, trained

__all__ = ["bench", "trained"]
