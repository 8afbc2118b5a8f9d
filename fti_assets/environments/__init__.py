"""Environments of a lake, to run a change on real data: ``fti env``."""

from fti_assets.environments.difference import difference
from fti_assets.environments.dropping import discard, drop
from fti_assets.environments.listing import environments
from fti_assets.environments.making import create
from fti_assets.environments.merging import merge
from fti_assets.environments.serving import load

__all__ = ["create", "difference", "discard", "drop", "environments", "load", "merge"]
