"""How modules rest on each other: no import goes in a circle, those for type checkers counted too."""

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Mapping, Set
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

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


def test_the_drawing_has_every_layer_in_its_place() -> None:
    repository = Path(__file__).parent.parent
    contracts = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["name"] == "Layers: imports never point up")
    place_of = {
        name.removeprefix("fti_assets."): number for number, one in enumerate(layers) for name in one.split(" | ")
    }
    drawing = (repository / "docs" / "architecture.svg").read_text()
    drawn = re.findall(r'<text class="layer" [^>]*>([^<]*)<', drawing)
    names = [name for one in drawn for name in one.split()]
    assert sorted(names) == sorted(place_of)
    assert [place_of[name] for name in names] == sorted(place_of.values())
    places = re.findall(r'<text class="place" [^>]*>([^<]*)<', drawing)
    assert places
    for one in places:
        assert (repository / "fti_assets" / one).is_dir() or (repository / "fti_assets" / f"{one}.py").is_file(), one
