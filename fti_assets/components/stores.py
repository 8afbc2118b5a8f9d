"""Where a project of components keeps features, models and online values: one resource for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

import fti_assets as fti
from fti_assets.components.reference import PlacedComponent, python_object
from fti_assets.core.addresses import show_address
from fti_assets.errors import DeclarationError, FtiError, list_some
from fti_assets.orchestration.resources import STORES

_DEFAULT = fti.Stores()


class StoresComponent(PlacedComponent):
    """The stores of a project, the resource ``fti``; without this component they lie under ``FTI_HOME``.

    Args:
        lake: the offline store's folder.
        models: the model store's folder.
        online: the online store's folder.
        log: the folder into which answers are logged.
        tracking: where builds are mirrored besides, ``{tracking_uri: "http://host:5000", experiment: flights}``.
        spark: what large plans run on, the arguments of ``fti.SparkEngine``: ``{url: "sc://spark:15002", engine: auto}``.
        environment: the environment of that lake, made by ``fti env create``; by default what ``FTI_ENV`` says.
        resource: the path of a ``Stores`` made in Python, as in ``my_project.resources.stores``, instead of folders. Python
            definitions that give the resource too must give that same object.
    """

    lake: str | None = None
    models: str | None = None
    online: str | None = None
    log: str | None = None
    tracking: Mapping[str, str] | None = None
    spark: Mapping[str, Any] | None = None
    environment: str | None = None
    resource: str | None = None
    _stores: Any = PrivateAttr(None)

    def __repr_args__(self) -> Any:
        """What ``repr`` shows: no password of an address."""
        return [(name, _hide_secrets(value)) for name, value in super().__repr_args__()]

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` says."""
        return dg.ComponentTypeSpec(description="Where features, models and online values lie.", produces=["resource"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The resource."""
        return dg.Definitions(resources={STORES: stores_of(context.component_tree)})

    @property
    def stores(self) -> fti.Stores:
        """The resource, made once."""
        if self._stores is None:
            try:
                self._stores = self._declared_stores()
            except FtiError as error:
                raise DeclarationError(f"{self.place}: {error}") from error
        stores: fti.Stores = self._stores
        return stores

    def _declared_stores(self) -> fti.Stores:
        names = ("lake", "models", "online", "log", "tracking", "spark", "environment")
        folders: dict[str, Any] = {name: folder for name in names if (folder := getattr(self, name)) is not None}
        if self.resource is None:
            tracking = {} if self.tracking is None else {"tracking": fti.MlflowTracking(**self.tracking)}
            spark = {} if self.spark is None else {"spark": fti.SparkEngine(**self.spark)}
            return fti.Stores(**{**folders, **tracking, **spark})
        if folders:
            raise DeclarationError(f"{list_some(folders)} and resource are both given: leave out one of the two")
        result = python_object(self.resource, self._context, what="resource")
        if not isinstance(result, fti.Stores):
            raise DeclarationError(f"resource {self.resource!r} is {result!r}: name an fti.Stores")
        return result


def _hide_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _hide_secrets(one) for name, one in value.items()}
    return show_address(value) if isinstance(value, str) else value


def stores_of(tree: Any) -> fti.Stores:
    """The stores of a project: those of its one StoresComponent, or the ones under ``FTI_HOME``."""
    components = tree.get_all_components(StoresComponent) if isinstance(tree.defs_module, ModuleType) else []
    if len(components) > 1:
        places = [component.place for component in components]
        raise DeclarationError(f"this project has {len(components)} StoresComponents, in {list_some(places)}: keep one")
    stores: fti.Stores = components[0].stores if components else _DEFAULT
    return stores
