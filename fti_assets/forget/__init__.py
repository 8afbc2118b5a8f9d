"""Taking a person, or whatever a key names, out of a system: ``fti forget``."""

from fti_assets.forget.forget import forget
from fti_assets.forget.report import Forgotten, as_text

__all__ = ["Forgotten", "as_text", "forget"]
