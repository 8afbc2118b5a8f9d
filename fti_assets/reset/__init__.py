"""Starting over with what is stored of a group or dataset: ``fti reset``."""

from fti_assets.reset.drop import reset as reset
from fti_assets.reset.plan import Plan as Plan
from fti_assets.reset.plan import plan_reset as plan_reset
from fti_assets.reset.text import as_text as as_text
