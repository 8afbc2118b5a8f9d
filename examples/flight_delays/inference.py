"""I: what the model answers for each day's flights, how these days differ from what it learned from, and how good the answers were."""

import fti_assets as fti
from examples.flight_delays.features import daily
from examples.flight_delays.training import delay_net

delay_predictions = fti.batch_predictions(
    name="delay_predictions", model=delay_net, partitions_def=daily, owners=["team:flights"]
)

delay_quality = fti.monitor(
    name="delay_quality",
    predictions=delay_predictions,
    # The mix of flights is judged each day; the weather and the late rates of one day are never spread as those of a year.
    drift=[
        fti.Drift("psi", columns=["carrier", "origin", "dest", "distance"]),
        fti.Drift("null_rate", at_most=0.3, in_a_row=2),
        fti.Drift("unknown_rate"),
    ],
    quality=[
        fti.Quality("roc_auc", at_least=0.6, in_a_row=3, min_rows=250, slices=["origin"]),
        fti.Quality("log_loss"),
        fti.Quality("brier"),
    ],
    owners=["team:flights"],
)
