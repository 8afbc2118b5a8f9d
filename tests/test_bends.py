"""The list of bends stays true of the code and the tests; ``make bends`` bends."""

import ast
from pathlib import Path

from scripts.bends import BENDS, Bend, out_of_date

TESTS = Path(__file__).parent


def test_each_bends_text_is_in_the_code_once() -> None:
    assert out_of_date() == []


def test_a_text_that_is_gone_is_told() -> None:
    removed = Bend("nothing", "errors.py", "no such text", "", ())
    assert out_of_date([removed]) == ["fti_assets/errors.py has the text of 'nothing' 0 times"]


def test_bends_have_names_of_their_own_and_tests_that_are_there() -> None:
    assert len({bend.name for bend in BENDS}) == len(BENDS) >= 12
    for test in {test for bend in BENDS for test in bend.tests}:
        file, _, function = test.partition("::")
        tree = ast.parse((TESTS / file).read_text())
        assert function in [one.name for one in tree.body if isinstance(one, ast.FunctionDef)], test


def test_a_bent_module_is_still_python() -> None:
    for bend in BENDS:
        before = (TESTS.parent / bend.path).read_text()
        after = before.replace(bend.text, bend.instead)
        assert after != before
        ast.parse(after)
