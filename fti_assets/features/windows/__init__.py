"""Rolling windows over a group's rows: what is computed, and where."""

from fti_assets.features.windows.aggregate import window_aggregate as window_aggregate
from fti_assets.features.windows.aggregates import Aggregate as Aggregate
from fti_assets.features.windows.aggregates import Count as Count
from fti_assets.features.windows.aggregates import DistinctCount as DistinctCount
from fti_assets.features.windows.aggregates import First as First
from fti_assets.features.windows.aggregates import Last as Last
from fti_assets.features.windows.aggregates import Max as Max
from fti_assets.features.windows.aggregates import Mean as Mean
from fti_assets.features.windows.aggregates import Min as Min
from fti_assets.features.windows.aggregates import Percentile as Percentile
from fti_assets.features.windows.aggregates import Rate as Rate
from fti_assets.features.windows.aggregates import Sessions as Sessions
from fti_assets.features.windows.aggregates import Std as Std
from fti_assets.features.windows.aggregates import Sum as Sum
from fti_assets.features.windows.window import Window as Window
