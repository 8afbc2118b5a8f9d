"""Which reports of a bird strike tell of a flight that was affected, so that a person reads them first: the whole system."""

from typing import Annotated, Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow

import fti_assets as fti
from examples.text.on_demand import tokens
from examples.text.records import coded, read

Terms = dict[str, Any]
WIDTH, EPOCHS = 384, 1
months = dg.MonthlyPartitionsDefinition(start_date="1996-10-01", end_date="1998-02-01")
cutoffs = dg.MonthlyPartitionsDefinition(start_date="1998-02-01", end_date="1998-03-01")
of_report: Terms = {"keys": ["report_id"], "partitions_def": months, "owners": ["team:safety"]}


class Strike(pa.DataFrameModel):
    """A report, read at six in the morning after the strike. Requests are held against this, too."""

    report_id: int = pa.Field(unique=True)
    read_at: pd.Timestamp
    remarks: str = pa.Field(str_length={"min_value": 1, "max_value": 4_000})


class Sentence(pa.DataFrameModel):
    """What the encoder makes of a report, by midnight."""

    report_id: int
    reported_at: pd.Timestamp
    sentence: Annotated[pd.ArrowDtype, pyarrow.list_(pyarrow.float32(), WIDTH)]  # type: ignore[valid-type]


@fti.feature_group(**of_report, event_time="read_at", schema=Strike)
def strikes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The reports with their remarks: the spine."""
    return read(context)


@fti.feature_group(**of_report, event_time="coded_at", serving_delay="0s")
def effects(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Whether the flight was affected: a precautionary landing, an aborted take-off, an engine that was shut down, or another effect."""
    return coded(context)


@fti.feature_group(
    **of_report, event_time="reported_at", schema=Sentence, serving_delay="6h", online=True, online_history="150d"
)
def sentences(strikes: fti.Table) -> pd.DataFrame:
    """Each report as a vector of the encoder as it was published: nothing of it has learned from strikes."""
    from examples.text.encoder import embed

    rows: pd.DataFrame = strikes.df()
    vectors = embed(tokens(remarks=rows["remarks"].to_numpy(object))["tokens"])
    times = rows["read_at"] - pd.Timedelta(hours=6)
    return pd.DataFrame({"report_id": rows["report_id"], "reported_at": times, "sentence": list(vectors)})


terms: Terms = {"spine": strikes, "label": fti.Label(effects["affected"], maturity="30d")}
looked_up = fti.FeatureView(
    name="looked_up", features=[sentences["sentence"]], encoders={"sentence": fti.Vector(dim=WIDTH)}, **terms
)
as_read = fti.FeatureView(name="as_read", features=[tokens], **terms)

split: Terms = {"split": fti.TimeSplit(validation="30d", test="92d"), "partitions_def": cutoffs}
rows_looked_up = fti.training_dataset(name="rows_looked_up", view=looked_up, **split)
rows_as_read = fti.training_dataset(name="rows_as_read", view=as_read, **split)

judged: Terms = {
    "name": "reader",
    "task": "binary",
    "evaluate": fti.Evaluation(metrics=["roc_auc", "log_loss", "brier"]),
    "gates": [fti.BeatsBaseline("log_loss"), fti.NotWorseThanChampion("roc_auc", tolerance=0.0)],
    "importance": False,  # each model has one feature
    "intended_use": "Which reports a person reads first.",
    "limits": [
        "Learned of reports from 1996 and 1997, in capitals and abbreviations, and reads the first 22 pieces of words.",
        "When an effect was noted is not in the records: 30 days after the strike is our assumption.",
    ],
}


@fti.model(dataset=rows_looked_up, version=1, **judged)
def reader_frozen(data: fti.TrainingData) -> Any:
    """A linear answer to the vector that is looked up."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10.0, max_iter=1_000).fit(data.train.X, data.train.y)


@fti.model(dataset=rows_as_read, version=2, **judged)
def reader_tuned(data: fti.TrainingData) -> Any:
    """The same encoder with low-rank adapters in its last layers; all that it takes stands in the request."""
    from examples.text import encoder

    module = encoder.Reader(encoder.weights())
    share = float(np.clip(data.train.y.mean(), 0.01, 0.99))
    module.answer.bias.data.fill_(float(np.log(share / (1 - share))))
    return data.fit(module, epochs=EPOCHS, batch_size=32, accelerator="auto")  # on a GPU where there is one


defs = fti.build_definitions([reader_frozen, reader_tuned], name="text")
