"""The ``fti`` command."""

from fti_assets.cli.commands import main as main
