"""Every name that is taken from Dagster's inside; ``tests/test_upstream_facts.py`` pins what each of them is and does.

The event log is a subclass of Dagster's own and keeps its own list, in ``event_log/``.
"""

from dagster._core.asset_graph_view.asset_graph_view import TemporalContext
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    extract_data_version_from_entry,
)
from dagster._core.definitions.freshness import CronFreshnessPolicy, TimeWindowFreshnessPolicy
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData, StepSuccessData
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.execution.plan.execute_step import _build_data_version_tags as build_data_version_tags
from dagster._core.execution.plan.execute_step import _get_code_version as get_code_version
from dagster._core.execution.plan.execute_step import _get_input_provenance_data as get_input_provenance_data
from dagster_shared.check import CheckError

__all__ = [
    "CODE_VERSION_TAG",
    "DATA_VERSION_IS_USER_PROVIDED_TAG",
    "DATA_VERSION_TAG",
    "DEFAULT_DATA_VERSION",
    "IMPLICIT_ASSET_JOB_NAME",
    "SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetMaterializationPlannedData",
    "BulkActionStatus",
    "CheckError",
    "CronFreshnessPolicy",
    "ObjectMetadataValue",
    "StepMaterializationData",
    "StepSuccessData",
    "TemporalContext",
    "TimeWindowFreshnessPolicy",
    "build_data_version_tags",
    "extract_data_version_from_entry",
    "get_code_version",
    "get_input_provenance_data",
    "partition_loading_context",
]
