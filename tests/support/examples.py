"""How many random examples a property is tried on: a fifth in ``make test``, all of them in ``make soak``."""

import math
import os

SOAK = os.environ.get("FTI_EXAMPLES") == "all"


def examples(most: int) -> int:
    """The number of examples of a test, of which ``make soak`` takes all."""
    return most if SOAK else max(2, math.ceil(most / 5))
