"""How many random examples a property is tried on: a twentieth in ``make test``, all of them in ``make soak``."""

import math
import os

SOAK = os.environ.get("FTI_EXAMPLES") == "all"


def examples(most: int) -> int:
    """The number of examples of a property, of which ``make soak`` takes all."""
    return most if SOAK else max(2, math.ceil(most / 20))


def repetitions(most: int) -> int:
    """How often a test repeats what is random, where its verdict needs some: a fifth, and all in ``make soak``."""
    return most if SOAK else max(2, math.ceil(most / 5))
