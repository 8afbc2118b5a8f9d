"""An on-demand function that no app can ship: it stands beside pandas."""

from typing import Any

import numpy as np
import pandas as pd

import fti_assets as fti

HOURS = pd.Timedelta("1h")


@fti.on_demand(outputs={"x": float})
def unshippable(distance: np.ndarray) -> Any: ...
