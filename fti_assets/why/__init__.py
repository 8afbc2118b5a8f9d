"""``fti why``: what an answer rests on, and what differs at another time or under another build."""

from fti_assets.why.text import as_text
from fti_assets.why.why import Why, why

__all__ = ["Why", "as_text", "why"]
