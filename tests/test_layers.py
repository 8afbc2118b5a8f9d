"""How modules rest on each other: no import goes in a circle, those for type checkers counted too."""

import importlib
import pkgutil
from collections.abc import Mapping, Set
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import grimp

import fti_assets


def circle(imports: Mapping[str, Set[str]]) -> list[str]:
    """The modules of one circle, each imported by the next; none if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}


def test_no_import_goes_in_a_circle() -> None:
    graph = grimp.build_graph("fti_assets", cache_dir=None)
    assert len(graph.modules) > 200
    imports = {module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}
    result = circle(imports)
    displayed = "\n".join(
        f"  {importer}, line {detail['line_number']}: {detail['line_contents']}"
        for imported, importer in pairwise(result)
        for detail in graph.get_import_details(importer=importer, imported=imported)
    )
    assert not result, f"these imports go in a circle: move what two of them share below both\n{displayed}"


def test_every_module_can_be_imported() -> None:
    names = [module.name for module in pkgutil.walk_packages(fti_assets.__path__, "fti_assets.")]
    assert len(names) > 200
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
