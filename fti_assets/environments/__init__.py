"""Environments of a lake, to run a change on real data: ``fti env``."""

from fti_assets.environments.difference import difference
from fti_assets.environments.dropping import drop
from fti_assets.environments.listing import environments
from fti_assets.environments.making import create
from fti_assets.environments.merging import merge

__all__ = ["create", "difference", "drop", "environments", "merge"]
