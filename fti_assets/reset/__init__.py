"""Starting over with what is stored of a group or dataset: ``fti reset``."""

from fti_assets.reset.drop import reset
from fti_assets.reset.plan import plan_reset
from fti_assets.reset.text import as_text

__all__ = ["as_text", "plan_reset", "reset"]
