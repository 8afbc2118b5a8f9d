"""What all components share: one declaration each, made when it is first asked for and named by the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar, Protocol, TypeVar

import dagster as dg
from pydantic import PrivateAttr

import fti_assets as fti
from fti_assets.components.reference import PlacedComponent, is_path, last_name, python_object
from fti_assets.components.stores import stores_of
from fti_assets.core.names import versioned_name
from fti_assets.definitions import automation_sensors, retraining_sensors, reviews_of
from fti_assets.errors import DeclarationError, FtiError, list_some
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.resources import STORES

D = TypeVar("D")

_PLACE = "place"
"""Set on an error that already names its file."""


class ComponentTree(Protocol):
    """The components of a project, each loaded once, as a ``ComponentLoadContext`` gives them."""

    defs_module: Any

    def get_all_components(self, of_type: type[Any]) -> list[Any]: ...


class DeclaringComponent(PlacedComponent):
    """A component that makes one declaration."""

    summary: ClassVar[str]

    _declaration: Any = PrivateAttr(None)
    _is_declaring: bool = PrivateAttr(False)
    _fits: bool = PrivateAttr(False)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` says."""
        return dg.ComponentTypeSpec(description=cls.summary, produces=["asset", "asset_check"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The component's own asset; those that it rests on come from their own components.

        Raises:
            DeclarationError: the declaration is impossible, alone or beside the other components.
        """
        tree = context.component_tree
        self._context = self._context or context
        declaration = self.declaration_in(tree)
        stores, components = stores_of(tree), components_of(tree)
        declarations = list(dict.fromkeys([declaration, *(component.declaration_in(tree) for component in components)]))
        if not self._fits:
            # Once for the whole project: what cannot stand side by side is told before Dagster merges the parts.
            for component in components:
                with component.naming_place():
                    retraining_sensors([component.declaration_in(tree)], declarations)
            fti.build_definitions(declarations, resources={STORES: stores})
            for component in [self, *components]:
                component._fits = True
        sensors = [*self.sensors_of(declaration), *retraining_sensors([declaration], declarations)]
        if components and components[0] is self:  # two for the whole project; what Python declares brings its own
            with_reviews = [*declarations, *reviews_of(declarations)]
            sensors += automation_sensors(project_name(tree), with_reviews, select=_those_there)
        assets = [one.assets_def for one in [declaration, *reviews_of([declaration])]]
        return dg.Definitions(assets=assets, sensors=sensors, resources={STORES: stores})

    def declare(self, tree: ComponentTree) -> Any:
        """Make the declaration."""
        raise NotImplementedError

    def sensors_of(self, declaration: Any) -> Sequence[dg.SensorDefinition]:
        """The sensors that come with the declaration's asset."""
        return []

    def names(self) -> Sequence[str]:
        """What other components may call it."""
        raise NotImplementedError

    def declaration_in(self, tree: ComponentTree) -> Any:
        """The declaration, made once: what others name is the same object. An error says the component's file and line."""
        if self._is_declaring:
            raise DeclarationError(f"{self.names()[0]!r} rests on itself: leave it out of what it takes")
        if self._declaration is None:
            self._is_declaring = True
            try:
                with self.naming_place():
                    self._declaration = self.declare(tree)
            finally:
                self._is_declaring = False
        return self._declaration

    @contextmanager
    def naming_place(self) -> Iterator[None]:
        """Whatever is refused here is refused with the component's file and line."""
        try:
            yield
        except FtiError as error:
            if _PLACE in vars(error):
                raise
            problem = DeclarationError(f"{self.place}: {error}")
            vars(problem)[_PLACE] = self.place
            raise problem from error

    @property
    def place(self) -> str:
        """The file and line of the component."""
        return super().place if self._context is not None else f"{type(self).__name__} {self.names()[0]!r}"

    def python(self, reference: Any, *, what: str) -> Any:
        """The Python object that an attribute names."""
        return python_object(reference, self._context, what=what)

    def function_of(self, reference: Any, *, what: str, decorator: str) -> Any:
        """The plain function that an attribute names."""
        function = self.python(reference, what=what)
        if not callable(function) or isinstance(function, Declaration):
            raise DeclarationError(
                f"{what} is {function!r}: name a plain function, without @{decorator}; the component declares it"
            )
        return function

    def look_up(
        self, tree: ComponentTree, kinds: Mapping[type[DeclaringComponent], type[D]], reference: Any, *, what: str
    ) -> D:
        """What another component declares under a name, or what a path to a Python declaration gives.

        Args:
            tree: the project's components.
            kinds: the components that may have the name, and what each declares.
            reference: the name or the path.
            what: names the place in errors.

        Raises:
            DeclarationError: nothing has that name, or several have.
        """
        if not isinstance(reference, str) or is_path(reference):
            result = self.python(reference, what=what)
            if not any(isinstance(result, declaration) for declaration in kinds.values()):
                declarations = " or ".join(declaration.__name__ for declaration in kinds.values())
                raise DeclarationError(f"{what} {reference!r} is {result!r}, which is not a {declarations}")
            python_declared: D = result
            return python_declared
        components = [component for kind in kinds for component in components_of(tree, kind)]
        kind_names = " or ".join(kind.__name__ for kind in kinds)
        matching = [component for component in components if reference in component.names()]
        if len(matching) > 1:
            versions = sorted(component.names()[-1] for component in matching)
            plural = kind_names.replace("Component", "Components")
            raise DeclarationError(
                f"{what} is {reference!r}, but several {plural} have that name: {list_some(versions)}; name one of them"
            )
        if not matching:
            names = sorted(component.names()[-1] for component in components)
            raise DeclarationError(
                f"{what} is {reference!r}, but no {kind_names} has that name; there is {list_some(names)}. Name one of them, or "
                "give the path of one that is declared in Python, as in my_project.features.weather"
            )
        target: D = matching[0].declaration_in(tree)
        return target

    def on_demand_of(self, reference: Any, *, what: str) -> OnDemand:
        """The on-demand function that an attribute names.

        Raises:
            DeclarationError: what it names is none.
        """
        result = self.python(reference, what=what)
        if not isinstance(result, OnDemand):
            raise DeclarationError(
                f"{what}: {reference!r} is {result!r}; declare it with @fti.on_demand(outputs={{...}})"
            )
        return result


def names_of(name: str | None, function: Any, version: int) -> tuple[str, str]:
    """The name of what a function declares, by default the function's, without and with its version."""
    if name is None:
        name = last_name(function) if isinstance(function, str) else str(getattr(function, "__name__", ""))
    return name, versioned_name(name, version)


def components_of(tree: ComponentTree, kind: type[Any] = DeclaringComponent) -> list[Any]:
    """The components of a kind in a project. The tree that stands for none, in tests, has none."""
    return tree.get_all_components(kind) if isinstance(tree.defs_module, ModuleType) else []


def project_name(tree: ComponentTree) -> str:
    """The name of a project's package, ``shops`` of ``shops.defs``."""
    return str(tree.defs_module.__name__).partition(".")[0]


def _those_there(*keys: dg.AssetKey) -> dg.AssetSelection:
    """The assets of some keys as far as they are there: ``dg list defs --path`` loads a part of a project."""
    return dg.AssetSelection.from_string(" or ".join(f'key:"{key.to_user_string()}"' for key in keys))
