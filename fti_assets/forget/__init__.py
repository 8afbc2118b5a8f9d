"""Taking a person, or whatever a key names, out of a system: ``fti forget``."""

from fti_assets.forget.forget import Key as Key
from fti_assets.forget.forget import forget as forget
from fti_assets.forget.places import stores_of as stores_of
from fti_assets.forget.report import Forgotten as Forgotten
from fti_assets.forget.report import as_text as as_text
