"""The resource that says who is told when something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.orchestration.addresses import whole_address, without_path

ALERTS = "alerts"
"""The key of the resource, by which ``build_definitions`` finds it."""

LOG = "log"
"""The address of the log of the tick and of the process."""

_LEVELS = ("warning", "error")


class Alerts(dg.ConfigurableResource):  # type: ignore[misc]
    """Who is notified of broken checks, failed steps, rejected builds, rollbacks and stale groups, and when they are over.

    Pass it to ``build_definitions(..., resources={"alerts": fti.Alerts(to=["mailto://..."])})``, which adds a sensor that looks once a
    minute. It sends one message for each cause when it begins and one when it is over, regardless of the ticks between. A target that
    does not answer is tried again at each tick and does not delay the others.

    Args:
        to: addresses as Apprise reads them: ``"jsons://example.com/hook"`` for a webhook, ``"slack://..."``, for e-mail
            ``"mailtos://user:password@example.com?to=oncall@example.com"``; ``"log"`` is the log. What comes after the scheme is kept out
            of what Dagster shows and records; better still, ``dg.EnvVar`` keeps it out of the code.
        at_least: ``"warning"`` includes checks that only warn, ``"error"`` only those that block.
        seconds: how long a target may take to answer.

    Raises:
        DeclarationError: there is no address, or one is not of a form that Apprise may read.

    >>> Alerts(to=["log", "jsons://example.com/hook"]).to  # doctest: +ELLIPSIS
    ['log', 'jsons://*** and its password...']
    """

    to: list[str] = [LOG]
    at_least: Literal["warning", "error"] = "warning"
    seconds: float = 10.0

    @checked_arguments(method=True)
    def __init__(
        self, *, to: Sequence[str] = (LOG,), at_least: Literal["warning", "error"] = "warning", seconds: float = 10.0
    ) -> None:
        if isinstance(to, str) or not to:
            raise DeclarationError(f"fti.Alerts has to={excerpt(to)}: give a list of addresses, such as to=['log']")
        for address in to:
            _refuse_strange(address)
        if at_least not in _LEVELS:
            raise DeclarationError(f"fti.Alerts has at_least={excerpt(at_least)}: it is {one_of(_LEVELS)}")
        if not 0 < seconds <= 60:
            raise DeclarationError(f"fti.Alerts has seconds={seconds}: give more than 0 and at most 60, such as 10")
        super().__init__(to=[without_path(one) for one in to], at_least=at_least, seconds=seconds)

    def address(self, target: str) -> str:
        """The whole of one of ``to``."""
        return str(whole_address(target))


def _refuse_strange(address: object) -> None:
    if isinstance(address, dg.EnvVar) or address == LOG:
        return
    if not isinstance(address, str):
        raise DeclarationError(
            f"fti.Alerts has {excerpt(address)} in to: an address is a text, such as 'jsons://example.com/hook'"
        )
    scheme, sign, rest = address.partition("://")
    if not sign or not rest or not scheme.isalnum():
        shown = f"{scheme}://***" if sign and scheme.isalnum() else "a text without scheme"
        raise DeclarationError(
            f"fti.Alerts has {shown} in to, which is no address: write 'log', or one such as 'jsons://example.com/hook' or "
            "'mailto://user:password@example.com'"
        )
