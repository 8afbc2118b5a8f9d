"""Which old builds go, which stay, and that a kill leaves whole builds or none."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.manifest import CompositeRecord, MemberRecord
from fti_assets.core.records import to_json
from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.errors import AliasConflictError, DamagedError, DeclarationError, FtiError, NotMaterializedError
from fti_assets.stores.models.aliases import Aliases, with_rollout
from fti_assets.stores.models.builds.retirement import Policy, Retirement, _old, plan_retirement, retire
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.models.unpromoted import left_behind, promote_new, publish_new
from tests.graphs import constant_graph
from tests.stores.faults import fault_at
from tests.stores.test_models import GRAPH, made, publish
from tests.support.examples import examples
from tests.support.records import model_manifest

ROOT = Path(__file__).parents[2]
KEEP_ONE = Policy(keep=1)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", lock_timeout=5)


def references(store: ModelStore) -> list[str]:
    return [build.reference for build in store.builds("delay_net")]


def test_builds_before_the_newest_accepted_ones_go(store: ModelStore) -> None:
    first, rejected, second, third, newest = publish(
        store, made(1), made(2, status="rejected"), made(3), made(4), made(5, status="rejected")
    )
    store.promote("delay_net", third, expected=None, reason="by hand")
    plan = plan_retirement(store, "delay_net", Policy(keep=2))
    assert (list(plan.sizes), plan.spared) == ([first, rejected], {})
    assert references(store) == [first, rejected, second, third, newest]  # a plan changes nothing
    done = retire(store, "delay_net", Policy(keep=2))
    assert done == plan
    assert plan.sizes[first] > len(GRAPH)
    assert references(store) == [second, third, newest]
    assert retire(store, "delay_net", Policy(keep=9)).sizes == {}


def test_what_the_history_reaches_stays(store: ModelStore) -> None:
    first, second, third, fourth, fifth = publish(store, *(made(month) for month in range(1, 6)))
    for before, after in ((None, first), (first, second), (second, fourth)):
        store.promote("delay_net", after, expected=before, reason="by hand")
    store.roll_back("delay_net", first, reason="by hand")
    plan = retire(store, "delay_net", KEEP_ONE)
    assert plan.spared == {
        first: "it is the champion", second: "it was the champion once", fourth: "it was rolled back",
    }  # fmt: skip
    assert references(store) == [first, second, fourth, fifth]
    assert third not in references(store)
    store.promote("delay_net", second, expected=first, reason="by hand")  # whatever history names can be gone back to


def test_arms_and_members_of_composites_stay(store: ModelStore) -> None:
    arm, member, removed, last = publish(store, made(1), made(2), made(3), made(4))
    store.promote("delay_net", last, expected=None, reason="by hand")
    rollout = Rollout("ab", (Arm("challenger", arm, 0.1),), ("id",), "s", "2026-01-01T00:00:00", "a test")
    store.change_aliases("delay_net", lambda aliases: with_rollout(aliases, rollout, "started", ""))
    record = CompositeRecord((MemberRecord("delay_net", member, "binary", "0" * 64, ("p",)),))
    whole = model_manifest(GRAPH, model="whole_trip")
    store.publish(whole, GRAPH, "")
    plans = []
    for composite in (None, record):  # what its manifest says of it counts, not its name
        (store.folder(whole) / "manifest.json").write_text(to_json(replace(whole, composite=composite)))
        plans.append(plan_retirement(store, "delay_net", KEEP_ONE))
    assert list(plans[0].sizes) == [member, removed]
    assert list(plans[1].sizes) == [removed]
    assert plans[1].spared == {
        arm: "it is the arm challenger of the rollout",
        member: f"the composite whole_trip {whole.reference} is made of it",
    }


def test_arms_of_ended_rollouts_stay(store: ModelStore) -> None:
    arm, removed, last = publish(store, made(1), made(2), made(3))
    store.promote("delay_net", last, expected=None, reason="by hand")
    rollout = Rollout("ab", (Arm("challenger", arm, 0.1),), ("id",), "s", "2026-01-01T00:00:00", "a test")
    for now, event in ((rollout, "started"), (None, "stopped")):
        store.change_aliases("delay_net", lambda aliases, now=now, event=event: with_rollout(aliases, now, event, ""))  # type: ignore[misc]
    plan = plan_retirement(store, "delay_net", KEEP_ONE)
    assert (list(plan.sizes), plan.spared) == ([removed], {arm: "it was the arm challenger of a rollout"})


def test_alias_file_keeps_which_builds_were_deleted(store: ModelStore) -> None:
    old, last = publish(store, made(1), made(2))
    store.promote("delay_net", last, expected=None, reason="by hand")
    with clock.at("2026-01-01T12:00:00"):
        retire(store, "delay_net", Policy(1, timedelta(0)), by="Ana")
    [record] = store.aliases("delay_net").retired
    assert (record.at, record.builds, record.by) == ("2026-01-01T12:00:00", (old,), "Ana")
    assert record.policy == "all but the 1 newest accepted builds, older than 0:00:00"
    assert store.aliases("delay_net").champion == last
    with pytest.raises(NotMaterializedError, match="since it was retired at 2026-01-01T12:00:00 by Ana"):
        store.manifest("delay_net", old)
    retire(store, "delay_net", KEEP_ONE)
    assert len(store.aliases("delay_net").retired) == 1


def test_age_counts_from_when_a_build_was_made(store: ModelStore) -> None:
    publish(
        store,
        made(1, created_at="2014-01-01T00:00:00"),
        made(2, created_at="2014-03-01T00:00:00"),
        made(3, created_at="2014-02-01T00:00:00"),
    )
    with clock.at("2014-03-31T00:00:00"):
        assert list(plan_retirement(store, "delay_net", Policy.of(None, "31d")).sizes) == [
            made(1).reference,
            made(3).reference,
        ]
        assert list(plan_retirement(store, "delay_net", Policy.of(None, "58d")).sizes) == [made(1).reference]
        assert list(plan_retirement(store, "delay_net", Policy.of(2, "31d")).sizes) == [made(1).reference]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=12), st.integers(1, 5), st.integers(0, 60))
@settings(max_examples=examples(50))
def test_old_is_what_the_policy_says(builds: list[tuple[bool, int]], keep: int, days: int) -> None:
    """Against counting by hand: how many accepted ones stand at or after each build, and how old it is."""
    manifests = [
        made(1, number, status="accepted" if accepted else "rejected", created_at=f"2014-{1 + age // 28:02d}-{1 + age % 28:02d}")
        for number, (accepted, age) in enumerate(builds)
    ]  # fmt: skip
    with clock.at("2014-04-01"):
        by_number = _old(manifests, Policy(keep=keep))
        by_age = _old(manifests, Policy(older_than=timedelta(days=days)))
        by_both = _old(manifests, Policy(keep, timedelta(days=days)))
    expected = [
        one for place, one in enumerate(manifests)
        if sum(accepted for accepted, _ in builds[place + 1 :]) >= keep
    ]  # fmt: skip
    assert by_number == expected
    assert by_age == [one for one in manifests if _age(one.created_at) > days]
    assert by_both == [one for one in expected if one in by_age]


def _age(day: str) -> int:
    return (date(2014, 4, 1) - date.fromisoformat(day)).days


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Policy(), "say which builds are old"),
        (lambda: Policy(keep=0), "0 builds cannot be kept: keep 1 or more"),
        (lambda: Policy.of(None, "soon"), "--older-than 'soon' is not a duration"),
    ],
)
def test_a_policy_that_says_nothing_is_refused(make: Callable[[], Policy], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        make()


def test_nothing_goes_while_a_manifest_cannot_be_read(store: ModelStore) -> None:
    first, second = publish(store, made(1), made(2))
    other = model_manifest(constant_graph(1), model="other_net")
    store.publish(other, constant_graph(1), "")
    path = store.folder(other) / "manifest.json"
    path.write_text("{")
    with pytest.raises(DamagedError, match=str(path)):
        retire(store, "delay_net", KEEP_ONE)
    assert references(store) == [first, second]
    with pytest.raises(
        NotMaterializedError, match="there is no model 'delay_nets' in .*: it has 'delay_net' or 'other_net'"
    ):
        plan_retirement(store, "delay_nets", KEEP_ONE)


KILLED = """
import os, signal, sys
from datetime import date, timedelta
from fti_assets.stores.models.builds.retirement import Policy, retire
from fti_assets.stores.models.store import ModelStore
calls = 0
def kill_at(event, arguments):
    global calls
    if event in ("os.rename", "os.remove", "os.rmdir"):
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill_at)
retire(ModelStore(sys.argv[1]), "delay_net", Policy(keep=1))
"""


@pytest.mark.soak
def test_a_kill_at_any_step_leaves_whole_builds_or_none(store: ModelStore) -> None:
    publish(store, *(made(month) for month in (1, 2, 3)))
    codes, counts = [], []
    for step in (2, 3, 5, 9, 100):
        command = [sys.executable, "-c", KILLED, str(store.root), str(step)]
        codes.append(subprocess.run(command, cwd=ROOT, check=False).returncode)
        counts.append(len(references(store)))
        for reference in references(store):
            store.load("delay_net", reference)  # whole, with the hash of its graph
    assert codes[:2] == [-9, -9]
    assert codes[-1] == 0
    assert counts[:2] == [3, 2]  # the record is written, and one build half deleted
    assert counts[-1] == 1
    assert not list((store.root / "delay_net").glob("v*/.*"))  # what kills left is gone with the next run


def test_any_failing_file_operation_leaves_whole_builds_or_none(store: ModelStore, tmp_path: Path) -> None:
    publish(store, made(1), made(2))
    for number in range(1, 100):
        root = tmp_path / f"copy_{number}"
        shutil.copytree(store.root, root)
        copy = ModelStore(root, lock_timeout=5)
        with fault_at(root, number, errno.EIO, lasting=number % 2 == 0) as fault, suppress(FtiError):
            retire(copy, "delay_net", KEEP_ONE)
        for reference in references(copy):
            copy.load("delay_net", reference)
        assert made(2).reference in references(copy)
        if fault.happened is None:
            break
        retire(copy, "delay_net", KEEP_ONE)
        assert references(copy) == [made(2).reference], fault.happened
    assert 10 < number < 99


def test_only_what_was_shown_goes(store: ModelStore) -> None:
    first, _ = publish(store, made(1), made(2))
    plan = plan_retirement(store, "delay_net", KEEP_ONE)
    publish(store, made(3))
    assert retire(store, "delay_net", KEEP_ONE, references=plan.sizes) == Retirement("delay_net", plan.sizes, {})
    assert references(store) == [made(2).reference, made(3).reference]
    assert first not in references(store)


def test_a_build_that_could_not_be_promoted_is_no_accepted_one_to_keep(store: ModelStore) -> None:
    first, second, lost = publish(store, made(1), made(2), made(3))
    store.promote("delay_net", second, expected=None, reason="by another run")
    manifest = store.manifest("delay_net", lost)
    with pytest.raises(AliasConflictError):
        promote_new(store, manifest, expected=None, reason="accepted by its gates", run_id="r")
    (note,) = store.aliases("delay_net").unpromoted
    assert (note.build, note.run_id) == (lost, "r")
    assert f"is {second}, not no build with which {lost} was compared" in note.reason
    newest = store.newest_accepted("delay_net")
    assert newest is not None
    assert newest.reference == second  # neither batches nor comparisons take it
    assert list(plan_retirement(store, "delay_net", KEEP_ONE).sizes) == [first]
    retire(store, "delay_net", Policy(older_than=timedelta()))
    assert references(store) == [second]
    assert store.aliases("delay_net").unpromoted == ()


def test_what_a_killed_run_published_and_did_not_promote_is_told(
    store: ModelStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = publish(store, made(1))
    store.promote("delay_net", first, expected=None, reason="by hand")
    killed, later = made(2), made(3)
    publish_new(store, killed, GRAPH, "card", expected=first, run_id="r")  # and no more than that
    assert [note.build for note in left_behind(store, "delay_net")] == [killed.reference]
    newest = store.newest_accepted("delay_net")
    assert newest is not None
    assert newest.reference == first
    main(["models", "--models", str(store.root)])
    told = f"run r was to make it champion after {first}: it is about to, or was killed before it could. fti models promote delay_net"
    assert f"    {killed.reference} was accepted, and is not champion: {told}" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr("fti_assets.stores.models.store.publish_folder", no_room)
        with pytest.raises(FtiError, match="No space left"):
            publish_new(store, later, GRAPH, "card", expected=first)
    assert [note.build for note in store.aliases("delay_net").unpromoted] == [killed.reference]
    publish_new(store, later, GRAPH, "card", expected=first)
    promote_new(store, later, expected=first, reason="accepted by its gates")
    assert left_behind(store, "delay_net") == ()  # nobody needs it any more


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("needed", [1, 2, 4])
def test_a_full_disk_is_freed_by_builds_that_go(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, needed: int
) -> None:
    """A disk on which the alias file fits once so many builds are gone."""
    builds = publish(store, *(made(month) for month in range(1, 5)))
    write = ModelStore.write_aliases

    def full(self: ModelStore, aliases: Aliases) -> Aliases:
        return no_room() or aliases if len(references(self)) > 4 - needed else write(self, aliases)  # type: ignore[func-returns-value]

    monkeypatch.setattr(ModelStore, "write_aliases", full)
    if needed < 4:
        assert list(retire(store, "delay_net", KEEP_ONE).sizes) == builds[:3]
        assert store.aliases("delay_net").retired[0].builds == tuple(builds[:3])
    else:
        with pytest.raises(FtiError, match="are deleted, and .*aliases.json could not say so: No space left on device"):
            retire(store, "delay_net", KEEP_ONE)
    assert references(store) == builds[3:]


def test_a_person_may_promote_what_a_run_could_not(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    first, lost = publish(store, made(1), made(2))
    store.promote("delay_net", first, expected=None, reason="by another run")
    with pytest.raises(AliasConflictError):
        promote_new(store, store.manifest("delay_net", lost), expected=None, reason="accepted", run_id="r")
    main(["models", "delay_net", "--models", str(store.root)])
    assert f"{lost}  accepted, not promoted" in (out := capsys.readouterr().out)
    assert "    not promoted: the champion of model 'delay_net' is" in out
    main(["models", "show", "delay_net", lost, "--models", str(store.root)])
    assert "accepted, not promoted" in capsys.readouterr().out
    store.promote("delay_net", lost, expected=first, reason="compared by hand")
    assert (store.champion("delay_net").reference, store.aliases("delay_net").unpromoted) == (lost, ())
