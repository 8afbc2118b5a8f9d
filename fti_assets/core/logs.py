"""Loggers without ``logging`` until something is logged: an app that has nothing to say does not wait for it at its start."""

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from logging import Logger


class _LateLogger:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        import logging

        return getattr(logging.getLogger(self._name), attribute)


def late_logger(name: str) -> "Logger":
    """The logger of a name, looked up at each use.

    >>> late_logger("fti_assets.doc").name
    'fti_assets.doc'
    """
    return cast("Logger", _LateLogger(name))
