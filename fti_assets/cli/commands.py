"""The command line beside Dagster's own: a new system, what a system is, the model store and its champions."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from fti_assets.cli.lake import add_lake_commands
from fti_assets.core.extras import named_extras
from fti_assets.core.home import home
from fti_assets.errors import DeclarationError, FtiError, NotMaterializedError, StoreError, one_of
from fti_assets.stores.models.store import Aliases, ModelStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; an error is one sentence on standard error and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        with named_extras(f"fti {options.command}"):
            options.run(options)
    except FtiError as error:
        print(f"fti: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fti", description="Start a system, describe it, look at its model store and change a champion by hand."
    )
    parser.add_argument("--version", action=_Version, help="say which version of fti_assets this is, and exit")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--models", default=None, help="the model store's folder (default: models/ under FTI_HOME)")
    init = commands.add_parser("init", help="write a small working system to start from")
    init.add_argument("name", help="of the system and its package, such as my_system")
    init.add_argument("--folder", default=None, help="where to write it, new or empty (default: a folder of that name)")
    init.set_defaults(run=_init)
    describe = commands.add_parser("describe", help="say what a system is, from its definitions")
    source = describe.add_mutually_exclusive_group()
    source.add_argument("-f", "--file", default="definitions.py", help="the file (default: definitions.py)")
    source.add_argument("-m", "--module", default=None, help="or the module")
    describe.add_argument("--json", action="store_true", help="for machines")
    describe.set_defaults(run=_describe)
    search = commands.add_parser("search", help="find what is declared by its name, columns, tags, owners, description")
    search.add_argument("word", nargs="+", help="all of them must be there")
    source = search.add_mutually_exclusive_group()
    source.add_argument("-f", "--file", default="definitions.py", help="the file (default: definitions.py)")
    source.add_argument("-m", "--module", default=None, help="or the module")
    search.add_argument("--json", action="store_true", help="for machines")
    search.set_defaults(run=_search)
    models = commands.add_parser("models", parents=[shared], help="list models, or the builds of one")
    models.add_argument("model", nargs="?")
    models.set_defaults(run=_models)
    forget = commands.add_parser("forget", help="take a key out of everything that is stored")
    forget.add_argument("group", help="the name of a feature group; all its versions are meant")
    forget.add_argument(
        "--key",
        action="append",
        required=True,
        metavar="COLUMN=VALUE",
        help="a key column and its value; once for each",
    )
    forget.add_argument(
        "--expire",
        action="store_true",
        help="also out of datasets and old snapshots, pinned ones too; deletes the files",
    )
    forget.add_argument("--dry-run", action="store_true", help="only say where it is")
    source = forget.add_mutually_exclusive_group()
    source.add_argument("-f", "--file", default="definitions.py", help="the file (default: definitions.py)")
    source.add_argument("-m", "--module", default=None, help="or the module")
    for name, what in (("lake", "offline"), ("models", "model"), ("online", "online")):
        forget.add_argument(
            f"--{name}", default=None, help=f"the {what} store's folder (default: what the definitions say)"
        )
    forget.set_defaults(run=_forget)
    reset = commands.add_parser("reset", help="drop what is stored of a group or dataset, to start over with it")
    reset.add_argument(
        "name", nargs="+", help="a group, dataset or predictions; all its versions are meant, or one, such as orders_v1"
    )
    reset.add_argument("--yes", action="store_true", help="do not ask")
    source = reset.add_mutually_exclusive_group()
    source.add_argument("-f", "--file", default="definitions.py", help="the file (default: definitions.py)")
    source.add_argument("-m", "--module", default=None, help="or the module")
    for name, what in (("lake", "offline"), ("models", "model"), ("online", "online")):
        reset.add_argument(
            f"--{name}", default=None, help=f"the {what} store's folder (default: what the definitions say)"
        )
    reset.set_defaults(run=_reset)
    add_lake_commands(commands)
    promote = commands.add_parser("promote", parents=[shared], help="make an accepted build the champion")
    promote.add_argument("model")
    promote.add_argument("build", help="such as v1/20130501T000000Z-1f9ac3d2")
    promote.add_argument("--reason", required=True)
    promote.set_defaults(run=_promote)
    rollback = commands.add_parser("rollback", parents=[shared], help="go back from the champion to an earlier one")
    rollback.add_argument("model")
    rollback.add_argument("--to", default=None, help="the build to go back to (default: the champion before)")
    rollback.add_argument("--reason", required=True)
    rollback.set_defaults(run=_rollback)
    return parser


class _Version(argparse.Action):
    """Print the installed version, read only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"fti_assets {version('fti-assets')}")
        parser.exit()


def _init(options: argparse.Namespace) -> None:
    from fti_assets.scaffold import write_system

    folder = write_system(options.name, options.folder)
    print(
        f"{folder} is a system of its own; go on with:\n  cd {folder}\n  python -m pytest\n  fti describe\n  dagster dev -f definitions.py"
    )


def _describe(options: argparse.Namespace) -> None:
    from fti_assets.describe import as_text, describe, load_definitions

    system = describe(load_definitions(file=options.file, module=options.module))
    print(json.dumps(system, indent=2) if options.json else as_text(system))


def _forget(options: argparse.Namespace) -> None:
    from fti_assets.describe import load_definitions
    from fti_assets.forget import as_text, forget, stores_of

    definitions = load_definitions(file=options.file, module=options.module)
    stores = stores_of(definitions, lake=options.lake, models=options.models, online=options.online)
    key = dict(_column_and_value(text) for text in options.key)
    done = forget(definitions, options.group, key, stores=stores, expire=options.expire, dry_run=options.dry_run)
    print(as_text(done))
    if done.expired is not None and (done.expired.holding or done.expired.unreadable):
        raise StoreError(f"not every file of {stores.offline_store().root} is shown to be without the key: see above")


def _reset(options: argparse.Namespace) -> None:
    from fti_assets.describe import load_definitions
    from fti_assets.forget import stores_of
    from fti_assets.reset import as_text, plan_reset, reset

    definitions = load_definitions(file=options.file, module=options.module)
    stores = stores_of(definitions, lake=options.lake, models=options.models, online=options.online)
    plan = None
    if not options.yes:
        plan = plan_reset(definitions, options.name, stores=stores)
        print(as_text(plan))
        if not plan.needs and not _agreed():
            raise StoreError("nothing was dropped: answer y, or say --yes")
    dropped, told_dagster = reset(definitions, options.name, stores=stores, expected=plan)
    print(as_text(dropped, done=True, told_dagster=told_dagster))


def _agreed() -> bool:
    try:
        return input("drop it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _column_and_value(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not (column and equals and value):
        raise DeclarationError("--key takes a column and its value, as in --key customer_id=17")
    return column, value


def _search(options: argparse.Namespace) -> None:
    from fti_assets.describe import load_definitions, search

    found = search(" ".join(options.word), load_definitions(file=options.file, module=options.module))
    print(json.dumps([dataclasses.asdict(one) for one in found], indent=2) if options.json else found)


def _store(options: argparse.Namespace) -> ModelStore:
    return ModelStore(options.models or home() / "models")


def _models(options: argparse.Namespace) -> None:
    store = _store(options)
    if options.model is None:
        for name in store.models():
            print(f"{name}  champion {store.aliases(name).champion or 'none'}")
        return
    aliases, builds = store.aliases(options.model), store.builds(options.model)
    if not builds:
        raise NotMaterializedError(
            f"there is no model {options.model!r} in {store.root}: it has {one_of(store.models())}"
        )
    for build in builds:
        marks: list[str] = [build.status]
        marks += ["champion"] if build.reference == aliases.champion else []
        marks += ["rolled back"] if build.reference in aliases.rolled_back else []
        scores = "  ".join(f"{name} {value:.4f}" for name, value in build.metrics.items())
        print(f"{build.reference}  {', '.join(marks)}  {scores}")
        for gate in build.gates:
            print(f"    {'passed' if gate.passed else 'failed'} {gate.gate}: {gate.reason}")


def _find_sources_here() -> None:
    """As ``python -m`` does: the on-demand functions of a system are compared with what a build learned from."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _promote(options: argparse.Namespace) -> None:
    _find_sources_here()
    store = _store(options)
    expected = store.aliases(options.model).champion
    aliases = store.promote(options.model, options.build, expected=expected, reason=options.reason)
    print(f"the champion of {options.model} is {aliases.champion}, before it was {expected or 'none'}")
    _report(store, aliases)


def _rollback(options: argparse.Namespace) -> None:
    _find_sources_here()
    store = _store(options)
    before = store.aliases(options.model).champion
    aliases = store.roll_back(options.model, options.to, reason=options.reason)
    print(f"the champion of {options.model} is {aliases.champion}, before it was {before or 'none'}")
    _report(store, aliases)


def _report(store: ModelStore, aliases: Aliases) -> None:
    """Tell the Dagster instance of ``DAGSTER_HOME``; the champion has changed, whatever becomes of that."""
    folder = os.environ.get("DAGSTER_HOME")
    if not folder:
        print("nothing was reported to Dagster, since DAGSTER_HOME is not set", file=sys.stderr)
        return
    try:
        from fti_assets.training.models.champion_events import report_champion

        reported = report_champion(store, aliases)
    except Exception as error:  # dagster is not installed, or whatever its storage raises
        print(
            f"nothing was reported to Dagster, since the instance of DAGSTER_HOME={folder} failed: {error}",
            file=sys.stderr,
        )
        return
    print(f"reported to Dagster, on the page of {' and '.join(reported)}")
