"""Who is told when something is wrong in a project of components: one resource, and the sensor over all that the project holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

import dagster as dg

import fti_assets as fti
from fti_assets.alerts.alerts import ALERTS
from fti_assets.alerts.sensor import location_alerts_sensor
from fti_assets.components.declaring import project_name
from fti_assets.components.reference import PlacedComponent, or_variable
from fti_assets.components.scaffold import AlertsScaffolder
from fti_assets.components.stores import stores_of
from fti_assets.errors import DeclarationError, FtiError, list_some
from fti_assets.orchestration.resources import STORES


@dg.scaffold_with(AlertsScaffolder)
class AlertsComponent(PlacedComponent):
    """Who is told of what is wrong: the resource ``alerts``, and the sensor that looks once a minute at all assets of the project.

    The attributes are those of ``fti.Alerts``.

    Args:
        to: addresses, ``log`` for the log, or ``{env: ON_CALL}`` for the variable of the environment that holds one.
        at_least: ``warning`` for checks that warn too, ``error`` for those that block alone.
        seconds: how long a target may take to answer.
    """

    to: Sequence[str | Mapping[str, str]] = ("log",)
    at_least: Literal["warning", "error"] = "warning"
    seconds: float = 10.0

    def __repr_args__(self) -> Any:
        """What ``repr`` shows: of an address its scheme, for any other part of it may be a token."""
        return [(name, list(map(_scheme, value)) if name == "to" else value) for name, value in super().__repr_args__()]

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` says."""
        return dg.ComponentTypeSpec(
            description="Who is notified of broken checks, failed steps and stale groups.",
            produces=["resource", "sensor"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The resource and the sensor.

        Raises:
            DeclarationError: an address is none, or the project has another component of who is told.
        """
        tree = context.component_tree
        in_project = isinstance(tree.defs_module, ModuleType)
        components = tree.get_all_components(AlertsComponent) if in_project else []
        if len(components) > 1:
            places = [component.place for component in components]
            raise DeclarationError(
                f"this project has {len(components)} AlertsComponents, in {list_some(places)}: keep one, with all addresses"
            )
        sensor = location_alerts_sensor(f"{project_name(tree)}_alerts" if in_project else ALERTS)
        return dg.Definitions(sensors=[sensor], resources={STORES: stores_of(tree), ALERTS: self.alerts})

    @property
    def alerts(self) -> fti.Alerts:
        """The resource."""
        try:
            to = [or_variable(one, what="an address in to", example="{env: ON_CALL}") for one in self.to]
            return fti.Alerts(to=to, at_least=self.at_least, seconds=self.seconds)
        except FtiError as error:
            raise DeclarationError(f"{self.place}: {error}") from error


def _scheme(address: Any) -> Any:
    scheme, sign, _ = address.partition("://") if isinstance(address, str) else (address, "", "")
    return f"{scheme}://***" if sign else address
