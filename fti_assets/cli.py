"""The command line beside Dagster's own: the model store and its champions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fti_assets.errors import FtiError, NotMaterializedError, one_of
from fti_assets.stores.home import home
from fti_assets.stores.models import ModelStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; an error is one sentence on standard error and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(ModelStore(options.models or home() / "models"), options)
    except FtiError as error:
        print(f"fti: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fti", description="Look at the model store and change a champion by hand.")
    commands = parser.add_subparsers(required=True, metavar="command")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--models", default=None, help="the model store's folder (default: models/ under FTI_HOME)")
    models = commands.add_parser("models", parents=[shared], help="list models, or the builds of one")
    models.add_argument("model", nargs="?")
    models.set_defaults(run=_models)
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


def _models(store: ModelStore, options: argparse.Namespace) -> None:
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


def _promote(store: ModelStore, options: argparse.Namespace) -> None:
    expected = store.aliases(options.model).champion
    aliases = store.promote(options.model, options.build, expected=expected, reason=options.reason)
    print(f"the champion of {options.model} is {aliases.champion}, before it was {expected or 'none'}")


def _rollback(store: ModelStore, options: argparse.Namespace) -> None:
    before = store.aliases(options.model).champion
    aliases = store.roll_back(options.model, options.to, reason=options.reason)
    print(f"the champion of {options.model} is {aliases.champion}, before it was {before or 'none'}")
