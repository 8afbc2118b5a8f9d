"""Walking a syntax tree is what the standard library's walk does."""

import ast
from pathlib import Path

import fti_assets
from fti_assets.core.on_demand.syntax.trees import walk


def test_a_walk_is_that_of_the_standard_library() -> None:
    for file in sorted(Path(str(fti_assets.__file__)).parent.rglob("*.py"))[::10]:
        tree = ast.parse(file.read_text())
        assert [*map(id, walk(tree))] == [*map(id, ast.walk(tree))], file
