"""Proposals to roll a champion back: what they rest on, and that they are of the champion of now."""

from __future__ import annotations

from dataclasses import replace

from fti_assets.core import clock
from fti_assets.stores.models.aliases import Aliases, FreshComparison, RollbackProposal, refuse_other_champion
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
