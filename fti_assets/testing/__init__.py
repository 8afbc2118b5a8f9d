"""Help for a system's own tests, from one function on a few rows to a whole system on an ephemeral lake.

========================= ==========================================================================================
``rows``                  a feature function on a few rows, its result validated as a real step would
``stores_in``             stores under a temporary folder
``materialize``           assets on such stores, with an ephemeral Dagster instance and the clock set
``tiny_dataset``          a frame with a view's features and label, made from their declared types
``train_tiny``            a model's function on such a frame, exported and compared, without any store
``assert_no_leak``        no feature changes when the future is taken away
``assert_parity``         the predictor sees and answers what the offline join and the graph give
``assert_logged_parity``  so were the answers of a prediction log
``Rehearsal``             a system that runs by itself, its sensors and conditions asked on a set clock
``publish``               events sent to a stream, as its producer would
``MemoryStream``          a stream without a broker
``take_events``           what ``fti stream`` makes of a stream's events, on stores of a test
========================= ==========================================================================================
"""

from fti_assets.core.extras import named_extras

with named_extras("fti_assets.testing"):
    from fti_assets.monitoring.parity import ParityReport
    from fti_assets.testing.events import publish
    from fti_assets.testing.failures import LeakFound, ParityBroken, RowsRefused
    from fti_assets.testing.few_rows import rows
    from fti_assets.testing.lake import Materialized, TakenEvents, materialize, stores_in, take_events
    from fti_assets.testing.leaks import assert_no_leak
    from fti_assets.testing.logged_parity import LoggedParityReport, assert_logged_parity
    from fti_assets.testing.memory_stream import MemoryStream
    from fti_assets.testing.parity import assert_parity
    from fti_assets.testing.rehearsal import Rehearsal, RehearsedRun
    from fti_assets.testing.tiny import TinyBuild, tiny_dataset, train_tiny

__all__ = [
    "LeakFound",
    "LoggedParityReport",
    "Materialized",
    "MemoryStream",
    "ParityBroken",
    "ParityReport",
    "Rehearsal",
    "RehearsedRun",
    "RowsRefused",
    "TakenEvents",
    "TinyBuild",
    "assert_logged_parity",
    "assert_no_leak",
    "assert_parity",
    "materialize",
    "publish",
    "rows",
    "stores_in",
    "take_events",
    "tiny_dataset",
    "train_tiny",
]
