"""Naming a feature group that another code location owns."""

from __future__ import annotations

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.published.reading import group_of_store
from fti_assets.orchestration.resources import Stores


@checked_arguments(itself=["version"])
def group(name: str, *, version: int = 1, stores: Stores | None = None) -> FeatureGroup:
    """Refer to a feature group that another code location owns, and use it like one declared here.

    Its contract (keys, times, columns with their types, and partitions) is read from the offline store, where its owner writes it with
    each materialization. So it must have been materialized once. After its owner has changed the contract, reload this code; until then a
    run refuses. Its asset here is an external asset with the same key: Dagster shows one graph across code locations, and its owner's
    materializations start downstream assets here.

    Args:
        name: the group's name, without its version.
        version: the version that is used.
        stores: where it is stored; under ``FTI_HOME`` by default. Give the stores that these definitions have.

    Raises:
        NotMaterializedError: there is no such store, group or version, or its owner has not written its contract yet.
        StoreError: the store cannot be reached, or its owner runs a later release whose contract has something that this one does
            not know.
        DeclarationError: the group has partitions that only its owner can make.

    >>> weather = fti.group("weather", version=1)  # doctest: +SKIP
    >>> weather["temp", "visib"]  # doctest: +SKIP
    """
    checked_name(name, what="feature group")
    checked_version(version, what=f"feature group {name!r}")
    return group_of_store(name, version, stores or Stores())
