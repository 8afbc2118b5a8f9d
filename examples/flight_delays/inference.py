"""I: what the model answers for each day's flights, and how these days differ from what it learned from."""

import fti_assets as fti
from examples.flight_delays.features import daily
from examples.flight_delays.training import delay_net

delay_predictions = fti.batch_predictions(
    name="delay_predictions", model=delay_net, partitions_def=daily, owners=["team:flights"]
)

delay_quality = fti.monitor(name="delay_quality", predictions=delay_predictions, owners=["team:flights"])
