"""Dagster components: declare groups, views, models, predictions, logs, experiments and monitors in YAML, scaffolded by ``dg``.

Each component's attributes become one public declaration (``fti.feature_group``, ``fti.FeatureView`` ...), so meanings and errors
are the same. Components name each other; a dotted path names what is declared in Python.
"""

from fti_assets.components.alerts import AlertsComponent
from fti_assets.components.feature_group import FeatureGroupComponent
from fti_assets.components.feature_view import FeatureViewComponent
from fti_assets.components.model import CompositeComponent, ModelComponent
from fti_assets.components.monitoring import MonitorComponent, ParityComponent
from fti_assets.components.predictions import ExperimentComponent, PredictionLogComponent, PredictionsComponent
from fti_assets.components.published import PublishedGroupComponent, PublishedModelComponent
from fti_assets.components.stores import StoresComponent

__all__ = [
    "AlertsComponent",
    "CompositeComponent",
    "ExperimentComponent",
    "FeatureGroupComponent",
    "FeatureViewComponent",
    "ModelComponent",
    "MonitorComponent",
    "ParityComponent",
    "PredictionLogComponent",
    "PredictionsComponent",
    "PublishedGroupComponent",
    "PublishedModelComponent",
    "StoresComponent",
]
