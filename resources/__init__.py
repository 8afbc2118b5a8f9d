"""Which stores and engine each environment uses: configuration, no classes."""

from typing import Any

from resources import local, production


def resources_for(environment: str) -> dict[str, Any]:
    """The Dagster resources of an environment, ``local`` or ``production``."""
    return {"local": local.RESOURCES, "production": production.RESOURCES}[environment]
