"""The ``fti`` command."""
