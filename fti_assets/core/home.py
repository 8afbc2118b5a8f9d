"""The folder of the embedded stores."""

import os
from pathlib import Path

DEFAULT_HOME = ".fti"


def home() -> Path:
    """``FTI_HOME``, by default ``./.fti``."""
    return Path(os.environ.get("FTI_HOME") or DEFAULT_HOME)
