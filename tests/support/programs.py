"""Programs that a user types, run in the process of the tests: another one would import Dagster for seconds."""

import io
import os
import sys
import warnings
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points


def called(program: str, *arguments: str) -> tuple[int, str]:
    """The exit code of a program, and all that it printed; what it imported from the current folder is forgotten.

    Args:
        program: the name of an installed command, such as ``dagster``.
        arguments: what is typed after it.
    """
    (script,) = entry_points(group="console_scripts", name=program)
    printed, argv, modules_before = io.StringIO(), sys.argv, set(sys.modules)
    sys.argv = [program, *arguments]
    code: object = 0
    try:
        with redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = script.load()()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = argv
        for module in modules_here(set(sys.modules) - modules_before):
            sys.modules.pop(module, None)
    return (code if isinstance(code, int) else int(bool(code))), printed.getvalue()


def modules_here(among: Iterable[str] | None = None) -> list[str]:
    """The imported modules that lie in the current folder, or those of some."""
    here, names = f"{os.getcwd()}{os.sep}", []
    for name in list(sys.modules if among is None else among):
        module = sys.modules[name]
        attributes = getattr(module, "__dict__", {})
        places = [attributes.get("__file__"), *(attributes.get("__path__") or ())]
        # As text: of thousands of modules Path would take longer than the program.
        if any(place is not None and os.path.join(here, place, "").startswith(here) for place in places):
            names.append(name)
    return names
