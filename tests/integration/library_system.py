"""The library of ``tests/forgetting`` as a system whose stores lie under ``FTI_HOME``, with a log of its answers."""

import fti_assets as fti
from tests.forgetting import library

LOG = fti.prediction_log(name="late_log", model=library.late_model, partitions_def=library.DAYS)
defs = fti.build_definitions([*library.ASSETS, LOG], resources={"fti": fti.Stores()})
