"""Proposals to roll a champion back: what they rest on, and that they are of the champion of now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fti_assets.core import clock
from fti_assets.errors import AliasConflictError
from fti_assets.stores.models.aliases import Aliases, FreshComparison, RollbackProposal

if TYPE_CHECKING:
    from fti_assets.stores.models.store import ModelStore


def propose_rollback(store: ModelStore, model: str, evidence: FreshComparison, *, run_id: str = "") -> Aliases:
    """Note that the champion be rolled back; one that is proposed already keeps its instant and gets the newer evidence.

    Raises:
        AliasConflictError: the champion is not the one that was judged; nothing was changed.
    """

    def change(aliases: Aliases) -> Aliases:
        refuse_other_champion(aliases, evidence)
        old = aliases.proposal
        is_same = old is not None and (old.champion, old.to) == (evidence.champion, evidence.previous)
        at = old.at if old is not None and is_same else clock.now().isoformat()
        return replace(aliases, proposal=RollbackProposal(at, evidence.champion, evidence.previous, evidence, run_id))

    return store.change_aliases(model, change)


def withdraw_proposal(store: ModelStore, model: str, evidence: FreshComparison) -> Aliases:
    """Take a proposal back, since the evidence of now does not say so any more.

    Raises:
        AliasConflictError: the champion is not the one that was judged; nothing was changed.
    """

    def change(aliases: Aliases) -> Aliases:
        refuse_other_champion(aliases, evidence)
        return replace(aliases, proposal=None)

    return store.change_aliases(model, change)


def refuse_other_champion(aliases: Aliases, evidence: FreshComparison | None) -> None:
    """Raise an AliasConflictError if the evidence judged another champion than that of now."""
    if evidence is not None and aliases.champion != evidence.champion:
        raise AliasConflictError(
            f"the champion of model {aliases.model!r} is {aliases.champion or 'nobody'}, not {evidence.champion}, which was judged: "
            "nothing was changed, judge the champion of now"
        )


def evidence_of_proposal(aliases: Aliases, to: str) -> FreshComparison | None:
    """What a proposal of a rollback rests on, if it is of this champion and to that build."""
    proposal = aliases.proposal
    if proposal is None or (proposal.champion, proposal.to) != (aliases.champion, to):
        return None
    return proposal.evidence
