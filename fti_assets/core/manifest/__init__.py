"""What a model learned from and what it needs to serve: the manifest beside each graph.

The same record drives the training join, the batch predictions and the online predictor, so the three cannot differ.
Times are naive UTC ISO text, durations whole microseconds. Its JSON Schema is ``manifest.schema.json`` beside this file.
"""

from fti_assets.core.manifest.builds import (
    NUMBERS,
    CompositeRecord,
    FeatureImportance,
    GateVerdict,
    GraphComparison,
    GraphInput,
    GraphOutput,
    ImportanceRecord,
    MemberRecord,
    ModelManifest,
    Status,
    TuningRecord,
)
from fti_assets.core.manifest.datasets import DatasetManifest, DatasetRecord, LabelRecord, RandomParts, SampleRecord
from fti_assets.core.manifest.intervals import Interval
from fti_assets.core.manifest.judging import (
    BootstrapRecord,
    CalibrationRecord,
    FairnessRecord,
    GroupRates,
    ThresholdRecord,
)
from fti_assets.core.manifest.tasks import (
    BY_NAME,
    CLASSIFIES,
    OUTPUT_NAMES,
    TASKS,
    VALUES,
    ModelTask,
    Task,
    TaskTraits,
    each_task,
)
from fti_assets.core.manifest.views import (
    NOT_NULLABLE,
    ON_DEMAND_MARK,
    Column,
    ColumnRule,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    OnDemandCall,
    OnDemandModule,
    SpineTimes,
    ViewRecord,
)

__all__ = [
    "BY_NAME",
    "CLASSIFIES",
    "NOT_NULLABLE",
    "NUMBERS",
    "ON_DEMAND_MARK",
    "OUTPUT_NAMES",
    "TASKS",
    "VALUES",
    "BootstrapRecord",
    "CalibrationRecord",
    "Column",
    "ColumnRule",
    "CompositeRecord",
    "DatasetManifest",
    "DatasetRecord",
    "FairnessRecord",
    "FeatureImportance",
    "GateVerdict",
    "GraphComparison",
    "GraphInput",
    "GraphOutput",
    "GroupRates",
    "ImportanceRecord",
    "Interval",
    "JoinedColumn",
    "JoinedGroup",
    "JoinedKey",
    "LabelRecord",
    "MemberRecord",
    "ModelManifest",
    "ModelTask",
    "OnDemandCall",
    "OnDemandModule",
    "RandomParts",
    "SampleRecord",
    "SpineTimes",
    "Status",
    "Task",
    "TaskTraits",
    "ThresholdRecord",
    "TuningRecord",
    "ViewRecord",
    "each_task",
]
