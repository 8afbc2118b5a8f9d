"""What a change of code recomputes: ``fti plan``."""

from fti_assets.plan.plan import Plan, plan_change
from fti_assets.plan.text import as_text

__all__ = ["Plan", "as_text", "plan_change"]
