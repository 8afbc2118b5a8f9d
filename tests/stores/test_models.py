import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fti_assets.core import clock
from fti_assets.core.manifest import (
    Column,
    GateVerdict,
    GraphInput,
    GraphOutput,
    ModelManifest,
    RandomParts,
    ViewRecord,
)
from fti_assets.core.records import to_json
from fti_assets.errors import (
    AliasConflictError,
    DamagedError,
    NoChampionError,
    NotMaterializedError,
    StoreError,
)
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.samples import SAMPLES, Samples
from fti_assets.stores.models.store import ModelStore, build_id
from tests.graphs import constant_graph, endless_graph, graph_that_loops_above, nested_graph
from tests.support.records import model_manifest

ROOT = Path(__file__).parents[2]
GRAPH = constant_graph()


def made(
    month: int, token: int = 1, *, status: str = "accepted", graph: bytes = GRAPH, **other: object
) -> ModelManifest:
    cutoff = datetime(2013, month, 1)
    fields = {
        "build": build_id(cutoff, f"{token:08x}"),
        "status": status,
        "cutoff": cutoff.isoformat(),
        "created_at": f"2014-01-01T00:00:{token:02d}",
        "gates": (GateVerdict("beats_baseline", status == "accepted", ""), GateVerdict("slice_gap", True, "")),
    }
    return model_manifest(graph, **(fields | other))


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models", lock_timeout=5)


def publish(store: ModelStore, *manifests: ModelManifest) -> list[str]:
    for manifest in manifests:
        store.publish(manifest, GRAPH, "# card")
    return [manifest.reference for manifest in manifests]


def test_build_ids_hold_cutoff_in_utc_and_eight_hex_digits():
    assert build_id(datetime(2013, 5, 1), "1f9ac3d2") == "20130501T000000Z-1f9ac3d2"
    assert build_id(datetime(2013, 5, 1, tzinfo=UTC), "1f9ac3d2") == "20130501T000000Z-1f9ac3d2"
    assert re.fullmatch(r"20130501T000000Z-[0-9a-f]{8}", build_id(datetime(2013, 5, 1)))
    assert build_id(datetime(2013, 5, 1)) != build_id(datetime(2013, 5, 1))


def test_a_published_build_is_loaded_as_it_was(store):
    (reference,) = publish(store, made(5))
    assert store.load("delay_net", reference) == (made(5), GRAPH)
    folder = store.root / "delay_net" / reference
    assert sorted(path.name for path in folder.iterdir()) == ["card.md", "manifest.json", "model.onnx"]
    assert (folder / "card.md").read_text() == "# card"
    assert store.models() == ("delay_net",)


def test_a_build_is_never_overwritten(store):
    publish(store, made(5))
    with pytest.raises(StoreError, match="already there and never overwritten"):
        store.publish(made(5, status="rejected"), GRAPH, "")
    assert store.builds("delay_net") == [made(5)]


def test_graph_other_than_manifest_says_is_not_published(store):
    with pytest.raises(StoreError, match=r"sha256 .* its manifest says .*: nothing was published"):
        store.publish(made(5), b"another", "")
    assert store.builds("delay_net") == []


def test_files_of_build_are_listed_and_as_immutable_as_it(store):
    page = b"<p>pictures</p>"
    manifest = made(5, files={"pictures.html": hashlib.sha256(page).hexdigest()})
    store.publish(manifest, GRAPH, "# card", {"pictures.html": page})
    assert (store.folder(manifest) / "pictures.html").read_bytes() == page
    assert store.manifest("delay_net", manifest.reference).files == manifest.files


@pytest.mark.parametrize(
    ("listed", "files", "said"),
    [
        ({"a.html": b"a"}, {}, "its manifest says"),
        ({}, {"a.html": b"a"}, "its manifest says"),
        ({"a.html": b"a"}, {"a.html": b"b"}, "its manifest says"),
        ({"card.md": b"a"}, {"card.md": b"a"}, "cannot have a file 'card.md'"),
        ({"../a": b"a"}, {"../a": b"a"}, "cannot have a file '../a'"),
    ],
)
def test_files_other_than_the_manifest_says_are_not_published(store, listed, files, said):
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in listed.items()}
    with pytest.raises(StoreError, match=said):
        store.publish(made(5, files=hashes), GRAPH, "", files)
    assert store.builds("delay_net") == []


@pytest.mark.parametrize("other", [{"build": "../../x"}, {"build": "latest"}, {"version": 0}, {"model": "../delay"}])
def test_names_that_are_no_names_are_not_published(store, other):
    with pytest.raises(StoreError, match="name"):
        store.publish(made(5, **other), GRAPH, "")


def test_builds_are_ordered_by_cutoff_then_by_when_they_were_made(store):
    references = publish(store, made(7), made(5, 2), made(6), made(5, 1))
    assert [build.reference for build in store.builds("delay_net")] == [references[i] for i in (3, 1, 2, 0)]


def test_instants_are_compared_not_texts(store):
    east = made(5, 1, cutoff="2013-05-01T03:00:00+03:00")
    publish(store, east, made(5, 2, cutoff="2013-05-01"))
    assert store.newest_accepted("delay_net", before="2013-05-01T00:00:00Z") is None
    assert store.newest_accepted("delay_net", at_or_before="2013-05-01T00:00:00Z").build.endswith("2")


def test_unknown_build_error_lists_existing_ones(store):
    (reference,) = publish(store, made(5))
    for unknown in ("v1/20130601T000000Z-00000001", "v2/" + made(5).build, "../secret", ""):
        with pytest.raises(NotMaterializedError, match=rf"no build {unknown!r} in .*models/: it has {reference!r}"):
            store.load("delay_net", unknown)
    with pytest.raises(NotMaterializedError, match="it has nothing"):
        store.manifest("other", reference)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_missing_file_is_damage(store, name):
    (reference,) = publish(store, made(5))
    (store.root / "delay_net" / reference / name).unlink()
    with pytest.raises(DamagedError, match=rf"{name} is missing, its folder holds 'card.md'.*: restore it"):
        store.load("delay_net", reference)


def test_a_flipped_bit_in_the_graph_is_damage(store):
    (reference,) = publish(store, made(5))
    path = store.root / "delay_net" / reference / "model.onnx"
    path.write_bytes(bytes([GRAPH[0] ^ 1]) + GRAPH[1:])
    with pytest.raises(
        DamagedError, match=rf"{path} is damaged: its {len(GRAPH)} bytes have sha256 .*, the manifest says .* Restore"
    ):
        store.load("delay_net", reference)
    with pytest.raises(DamagedError):
        store.promote("delay_net", reference, expected=None, reason="by hand")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"version": 1,', '"version": "1",', "cannot be read as ModelManifest"),
        ("-00000001", "-00000002", "is the manifest of delay_net/v1/20130501T000000Z-00000002"),
        ("2013-05-01T00:00:00", "yesterday", "has 'yesterday' where an instant"),
    ],
)
def test_a_wrong_manifest_is_damage(store, old, new, problem):
    (reference,) = publish(store, made(5))
    path = store.root / "delay_net" / reference / "manifest.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DamagedError, match=problem):
        store.manifest("delay_net", reference)


@pytest.mark.parametrize(
    ("dataset", "problem"),
    [
        ({"trained_until": "text"}, "has 'text' where an instant"),
        ({"random_parts": RandomParts("md5", -1, 0.2, 0.2)}, "says that it was split by hash by .*seed=-1"),
        ({"random_parts": RandomParts("md5", 0, 0.6, 0.5)}, "says that it was split by hash by .*test=0.6"),
        ({"random_parts": RandomParts("md5", 0, 0.1, 0.1, ("",))}, "by the hash of .*: names of columns are expected"),
        ({"random_parts": RandomParts("md5", 0, 0.0, 0.5)}, "says that it was split by hash by .*test=0.0"),
    ],
)
def test_what_a_dataset_cannot_have_been_is_damage(store, dataset, problem):
    build = made(5)
    (reference,) = publish(store, build)
    path = store.root / "delay_net" / reference / "manifest.json"
    path.write_text(to_json(replace(build, dataset=replace(build.dataset, **dataset))))
    with pytest.raises(DamagedError, match=problem):
        store.manifest("delay_net", reference)


def test_without_champion_error_lists_builds_and_why(store):
    first, second = publish(store, made(5, status="rejected"), made(6))
    with pytest.raises(NoChampionError) as caught:
        store.champion("delay_net")
    assert str(caught.value) == (
        f"no champion for model 'delay_net' in {store.root}/: it has builds {first} (rejected: beats_baseline), "
        f"{second} (accepted). Promote an accepted one with fti promote"
    )


def test_without_builds_the_error_lists_the_models(store):
    publish(store, made(5))
    with pytest.raises(NoChampionError, match=r"model 'other' .* it has no builds; the store has 'delay_net'"):
        store.champion("other")


def test_promotion_is_recorded_with_its_reason(store):
    first, second = publish(store, made(5), made(6))
    with clock.at("2014-01-01T12:00:00"):
        store.promote("delay_net", first, expected=None, reason="first", run_id="r1")
        aliases = store.promote("delay_net", second, expected=first, reason="better")
    assert aliases == store.aliases("delay_net")
    assert store.champion("delay_net") == made(6)
    assert [(c.at, c.champion, c.previous, c.reason, c.run_id) for c in aliases.history] == [
        ("2014-01-01T12:00:00", first, None, "first", "r1"),
        ("2014-01-01T12:00:00", second, first, "better", ""),
    ]


def test_promotion_is_refused_when_the_champion_changed_meanwhile(store):
    first, second = publish(store, made(5), made(6))
    store.promote("delay_net", first, expected=None, reason="by hand")
    with pytest.raises(AliasConflictError, match=rf"the champion .* is {first}, not no build with which {second} was"):
        store.promote("delay_net", second, expected=None, reason="by hand")
    assert store.champion("delay_net").reference == first


def test_one_of_many_racing_promotions_wins(store):
    references = publish(store, *(made(5, token) for token in range(1, 9)))
    won = []

    def race(reference: str) -> None:
        try:
            store.promote("delay_net", reference, expected=None, reason="race")
            won.append(reference)
        except AliasConflictError:
            pass

    threads = [threading.Thread(target=race, args=(reference,)) for reference in references]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.champion("delay_net").reference] == won
    assert len(store.aliases("delay_net").history) == 1


def test_a_rejected_build_cannot_be_champion(store):
    rejected, accepted = publish(store, made(5, status="rejected"), made(6))
    with pytest.raises(StoreError, match=rf"it is rejected: beats_baseline. Accepted ones are '{accepted}'"):
        store.promote("delay_net", rejected, expected=None, reason="by hand")
    assert store.aliases("delay_net").champion is None


def test_a_champion_needs_a_reason(store):
    first, second = publish(store, made(5), made(6))
    with pytest.raises(StoreError, match="without a reason: say why.*Nothing was changed"):
        store.promote("delay_net", first, expected=None, reason=" \u200b")
    assert store.aliases("delay_net").champion is None
    store.promote("delay_net", first, expected=None, reason="first")
    store.promote("delay_net", second, expected=first, reason="second")
    with pytest.raises(StoreError, match="without a reason"):
        store.roll_back("delay_net", reason="")
    assert store.aliases("delay_net").champion == second


def test_a_rollback_passes_over_the_champion_made_twice(store):
    """Of the same cutoff, code and data and with the same figures; a build that differs in one of them is another model."""
    builds = [
        made(2, 3),
        made(3, 1),
        made(3, 2),
        made(3, 4, code_version="new"),
        made(3, 5, metrics={"log_loss": 0.25}),
    ]
    other, first, twin, of_code, of_figures = publish(store, *builds)
    champion = None
    for reference in (other, first, twin):
        store.promote("delay_net", reference, expected=champion, reason="by hand")
        champion = reference
    assert store.target_of_rollback(store.aliases("delay_net")) == other
    store.promote("delay_net", of_code, expected=twin, reason="by hand")
    assert store.target_of_rollback(store.aliases("delay_net")) == twin
    store.promote("delay_net", of_figures, expected=of_code, reason="by hand")
    assert store.roll_back("delay_net", reason="bad").champion == of_code


def test_rolling_back_goes_to_champion_before_and_skips_those_rolled_back(store):
    first, second, third = publish(store, made(5), made(6), made(7))
    for reference, expected in ((first, None), (second, first), (third, second)):
        store.promote("delay_net", reference, expected=expected, reason="by hand")
    assert store.roll_back("delay_net", reason="bad").champion == second
    aliases = store.roll_back("delay_net", reason="bad too")
    assert (aliases.champion, aliases.rolled_back) == (first, (third, second))
    with pytest.raises(StoreError, match=rf"no champion of model 'delay_net' came before {first}"):
        store.roll_back("delay_net", reason="by hand")


def test_rolling_back_can_name_its_build(store):
    first, second, third = publish(store, made(5), made(6), made(7, status="rejected"))
    with pytest.raises(NoChampionError):
        store.roll_back("delay_net", reason="by hand")
    store.promote("delay_net", second, expected=None, reason="by hand")
    with pytest.raises(StoreError, match="is the champion of model 'delay_net' itself"):
        store.roll_back("delay_net", second, reason="by hand")
    with pytest.raises(StoreError, match="cannot be champion"):
        store.roll_back("delay_net", third, reason="by hand")
    assert store.roll_back("delay_net", first, reason="by hand").champion == first


def test_promoting_a_rolled_back_build_again_clears_its_mark(store):
    first, second = publish(store, made(5), made(6))
    store.promote("delay_net", first, expected=None, reason="by hand")
    store.promote("delay_net", second, expected=first, reason="by hand")
    store.roll_back("delay_net", reason="by hand")
    assert store.newest_accepted("delay_net").reference == first
    aliases = store.promote("delay_net", second, expected=first, reason="by hand")
    assert (aliases.champion, aliases.rolled_back) == (second, ())
    assert store.newest_accepted("delay_net").reference == second


def test_the_newest_accepted_build_of_a_cutoff(store):
    first, second, _ = publish(store, made(5), made(6), made(7, status="rejected"))
    assert store.newest_accepted("delay_net").reference == second
    assert store.newest_accepted("delay_net", before="2013-06-01T00:00:00").reference == first
    assert store.newest_accepted("delay_net", at_or_before="2013-06-01T00:00:00").reference == second
    assert store.newest_accepted("delay_net", before="2013-05-01T00:00:00") is None
    assert store.newest_accepted("other") is None


# Imports once, which takes a second, and forks a publisher for each line; it tells how each ended.
KILLED = """
import json, os, signal, sys
from fti_assets.stores import files
from fti_assets.core.manifest import ModelManifest
from fti_assets.stores.models.store import ModelStore
from fti_assets.core.records import from_json
from tests.graphs import constant_graph
calls, sync = 0, os.fsync
def kill_at(descriptor):
    global calls
    calls += 1
    if calls == step:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
files.os.fsync = kill_at
for line in sys.stdin:
    step, manifest = json.loads(line)
    publisher = os.fork()
    if not publisher:
        code = 1
        try:
            ModelStore(sys.argv[1]).publish(from_json(ModelManifest, manifest, what=""), constant_graph(), "")
            code = 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(publisher, 0)[1]), flush=True)
"""


@pytest.mark.soak
def test_publisher_killed_anytime_leaves_no_build_or_whole_one(store):
    publish(store, made(4))
    outcomes = []
    command = [sys.executable, "-c", KILLED, str(store.root)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as nursery:
        for step in range(1, 8):
            print(json.dumps([step, to_json(made(5, step))]), file=nursery.stdin, flush=True)
            code = int(nursery.stdout.readline())
            present = made(5, step).reference in [build.reference for build in store.builds("delay_net")]
            if present:
                store.load("delay_net", made(5, step).reference)
            outcomes.append((code, present))
        nursery.stdin.close()
    assert {code for code, _ in outcomes} == {-9, 0}
    assert outcomes[0] == (-9, False)
    assert outcomes[-1] == (0, True)
    left = store.root / "delay_net" / "v2" / ".20130601T000000Z-00000000.0a1b2c3d.tmp"  # of a version that is done with
    left.mkdir(parents=True)
    (left / "model.onnx").touch()
    store.publish(made(6), GRAPH, "")
    assert not list((store.root / "delay_net").glob("v*/.*"))


def test_the_aliases_of_another_model_are_refused(store):
    (reference,) = publish(store, made(5))
    store.promote("delay_net", reference, expected=None, reason="by hand")
    shutil.copytree(store.root / "delay_net", store.root / "copied_net")
    for change in (
        lambda: store.promote("copied_net", reference, expected=reference, reason="by hand"),
        lambda: store.roll_back("copied_net", reason="by hand"),
        lambda: store.champion("copied_net"),
    ):
        with pytest.raises(DamagedError, match=r"has the aliases of model 'delay_net': .* Put it back as"):
            change()
    assert len(store.aliases("delay_net").history) == 1


def test_aliases_of_a_later_format_are_refused(store):
    (reference,) = publish(store, made(5))
    store.promote("delay_net", reference, expected=None, reason="by hand")
    for path in (store.aliases_file("delay_net"), store.root / "delay_net" / reference / "manifest.json"):
        path.write_text(path.read_text().replace('"format": 1', '"format": 2, "news": 1'))
        with pytest.raises(StoreError, match="was written in format 2, this release of fti-assets reads format 1"):
            store.champion("delay_net")
        path.write_text(path.read_text().replace('"format": 2, "news": 1', '"format": 1'))


def test_a_rejected_champion_is_refused(store):
    accepted, rejected = publish(store, made(5), made(6, status="rejected"))
    store.promote("delay_net", accepted, expected=None, reason="by hand")
    path = store.aliases_file("delay_net")
    path.write_text(path.read_text().replace(accepted, rejected))
    with pytest.raises(DamagedError, match=rf"names {rejected} as champion, which is rejected.* of '{accepted}'"):
        store.champion("delay_net")


@pytest.mark.parametrize("name", ["aliases.json", "manifest.json", "model.onnx"])
def test_a_folder_in_place_of_a_file_is_named(store, name):
    (reference,) = publish(store, made(5))
    store.promote("delay_net", reference, expected=None, reason="by hand")
    (path,) = (store.root / "delay_net").rglob(name)
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedError, match=rf"{path} is a folder where a file belongs"):
        store.load("delay_net", store.champion("delay_net").reference)


def test_a_full_disk_changes_no_champion(store, monkeypatch):
    first, second = publish(store, made(5), made(6))
    store.promote("delay_net", first, expected=None, reason="by hand")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for change in (
            lambda: store.promote("delay_net", second, expected=first, reason="by hand"),
            lambda: store.roll_back("delay_net", second, reason="by hand"),
            lambda: store.publish(made(7), GRAPH, ""),
        ):
            with pytest.raises(
                StoreError, match=r"could not be written: No space left on device\. Nothing was changed"
            ):
                change()
    assert store.champion("delay_net").reference == first
    assert len(store.builds("delay_net")) == 2
    store.promote("delay_net", second, expected=first, reason="by hand")


def test_what_a_killed_promotion_left_is_removed(store):
    (reference,) = publish(store, made(5))
    abandoned = store.root / "delay_net" / ".aliases.json.0123abcd.tmp"
    abandoned.write_bytes(b"{")
    store.promote("delay_net", reference, expected=None, reason="by hand")
    assert not abandoned.exists()


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (endless_graph(), "no trip count that is a constant or comes from shapes"),
        (graph_that_loops_above(1e9, steps=None), "no trip count that is a constant or comes from shapes"),
        (nested_graph(40), "unfold to more than 1000000 nodes"),
        (nested_graph(18), r"did not end within 0\.5 s"),
    ],
    ids=["loop", "loop behind a condition", "functions", "slow functions"],
)
def test_a_graph_without_an_end_is_not_published(store, graph, problem):
    store = ModelStore(store.root, trial_seconds=0.5)
    with pytest.raises(StoreError, match=f"cannot be published: .*{problem}"):
        store.publish(made(5, graph=graph), graph, "")
    assert store.builds("delay_net") == []


HALVES = graph_that_loops_above(10.0)


def halving(samples: bytes) -> ModelManifest:
    """A build of a graph that halves its one number, with samples."""
    number = (Column("number", "number"),)
    return made(
        5,
        graph=HALVES,
        view=ViewRecord("v", 1, "s", 1, ("id",), None, number, (), (), number),
        inputs=(GraphInput("numbers", "float32", ("number",)),),
        outputs=(GraphOutput("probability", "float32"),),
        files={SAMPLES: hashlib.sha256(samples).hexdigest()},
    )


def asked(*numbers: float, answers: list[float]) -> bytes:
    return Samples({"number": np.array(numbers)}, np.array(answers)).to_json()


def test_a_build_is_published_and_loaded_with_samples_that_it_answers(store):
    samples = asked(1.0, 3.0, answers=[0.5, 1.5])
    store.publish(halving(samples), HALVES, "", {SAMPLES: samples})
    _, graph = load_build(store, "delay_net", halving(samples).reference)
    assert graph.run({"number": np.array([4.0])})["probability"].tolist() == [2.0]


def test_a_graph_that_is_slow_on_its_samples_is_not_published(store):
    """It is fast on a row without values."""
    store, samples = ModelStore(store.root, trial_seconds=0.1), asked(99.0, answers=[0.5])
    with pytest.raises(StoreError, match=r"cannot be published: .*did not end within 0\.1 s"):
        store.publish(halving(samples), HALVES, "", {SAMPLES: samples})
    assert store.builds("delay_net") == []


def test_a_graph_that_answers_otherwise_than_its_samples_is_not_published(store):
    samples = asked(1.0, answers=[0.75])
    with pytest.raises(StoreError, match=r"cannot be published: it answers 0\.5 where it answered 0\.75"):
        store.publish(halving(samples), HALVES, "", {SAMPLES: samples})
    assert store.builds("delay_net") == []


def test_samples_on_which_a_graph_has_no_end_do_not_keep_a_load(store):
    """Whoever put them there."""
    from fti_assets.stores.models.graphs.graph import Graph

    graph = Graph.from_bytes(HALVES, (GraphInput("numbers", "float32", ("number",)),), what="build v1/x")
    samples = Samples.from_json(asked(99.0, answers=[0.5]), texts=[], what="samples.json")
    with pytest.raises(DamagedError, match=r"build v1/x .*does not run: .*did not end within 0\.1 s"):
        samples.check(graph, "probability", what="build v1/x", seconds=0.1)


def test_bytes_that_are_no_graph_are_not_published(store):
    graph = b"no graph at all"
    with pytest.raises(StoreError, match="cannot be published: it cannot be loaded as an ONNX graph"):
        store.publish(made(5, graph=graph), graph, "")
    assert store.builds("delay_net") == []
