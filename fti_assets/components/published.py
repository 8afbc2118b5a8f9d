"""Groups and models of other code locations, named in YAML."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

import fti_assets as fti
from fti_assets.components.declaring import ComponentTree, DeclaringComponent
from fti_assets.components.stores import stores_of
from fti_assets.core.names import versioned_name
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.training.composites.composite import Composite
from fti_assets.training.models.model import Model


class _PublishedComponent(DeclaringComponent):
    """What another code location owns: an external asset here."""

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` says."""
        return dg.ComponentTypeSpec(description=cls.summary, produces=["asset"])


class PublishedGroupComponent(_PublishedComponent):
    """A feature group that another code location owns. The attributes are those of ``fti.group``; the stores are the project's.

    Args:
        name: the group's name, without its version.
        version: the version that is used.
    """

    name: str
    version: int = 1

    summary = "A feature group that another code location owns, whose contract is read from the offline store."

    def names(self) -> Sequence[str]:
        """``weather`` and ``weather_v1``."""
        return self.name, versioned_name(self.name, self.version)

    def declare(self, tree: ComponentTree) -> FeatureGroup:
        """The group, as its owner's contract says it."""
        return fti.group(self.name, version=self.version, stores=stores_of(tree))


class PublishedModelComponent(_PublishedComponent):
    """A model, or a composite, that another code location owns. The attributes are those of ``fti.published_model``; the stores are the
    project's.

    Args:
        name: the model's name.
        version: take the newest accepted build of this version instead of the champion, if that is of another.
    """

    name: str
    version: int | None = None

    summary = "A model that another code location owns, as its champion's build in the model store says."

    def names(self) -> Sequence[str]:
        """``delay_net``, and ``delay_net_v1`` where the version is given."""
        return (self.name,) if self.version is None else (self.name, versioned_name(self.name, self.version))

    def declare(self, tree: ComponentTree) -> Model | Composite:
        """The model, as its build says it."""
        return fti.published_model(self.name, version=self.version, stores=stores_of(tree))
