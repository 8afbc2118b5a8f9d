"""``fti describe`` and ``fti search``: what a system is, from its declarations and its ``dg.Definitions``."""

from fti_assets.describe.finding import search
from fti_assets.describe.loading import existing_store, load_definitions, stores_of
from fti_assets.describe.system import describe
from fti_assets.describe.text import as_text

__all__ = ["as_text", "describe", "existing_store", "load_definitions", "search", "stores_of"]
