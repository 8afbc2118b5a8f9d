"""The model store in a bucket: builds whole or not at all, no promotion is lost, and refusals say what to do."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fti_assets.core.records import to_json
from fti_assets.errors import AliasConflictError, NoChampionError, StoreError
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.builds.retirement import Policy, retire
from fti_assets.stores.models.store import ModelStore
from tests.stores.test_models import GRAPH, made, publish
from tests.support.buckets import BucketServer, bucket_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with bucket_server("team") as server:
        yield server


@pytest.fixture
def store(
    server: BucketServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[ModelStore]:
    for variable, value in server.environment.items():
        monkeypatch.setenv(variable, value)
    yield ModelStore(f"s3://team/{request.node.name.partition('[')[0]}/models", lock_timeout=20)
    server.refuses, server.clock = lambda method, path: None, timedelta(0)


def test_build_is_published_loaded_promoted_and_rolled_back(store: ModelStore) -> None:
    first, second = publish(store, made(5), made(6, token=2))
    assert store.load("delay_net", first) == (made(5), GRAPH)
    assert [one.reference for one in store.builds("delay_net")] == [first, second]
    assert store.models() == ("delay_net",)
    store.promote("delay_net", first, expected=None, reason="the first")
    store.promote("delay_net", second, expected=first, reason="better")
    assert store.champion("delay_net").reference == second
    with pytest.raises(AliasConflictError):
        store.promote("delay_net", first, expected=first, reason="late")
    before = store.signature("delay_net")
    assert store.roll_back("delay_net", reason="worse").champion == first
    assert store.signature("delay_net") != before
    again = ModelStore(str(store.root)).aliases("delay_net")
    assert ([one.champion for one in again.history], again.rolled_back) == ([first, second, first], (second,))


def test_build_is_never_overwritten(store: ModelStore) -> None:
    publish(store, made(5))
    with pytest.raises(StoreError, match="already there and never overwritten"):
        store.publish(made(5, status="rejected"), GRAPH, "")
    assert store.builds("delay_net") == [made(5)]


def test_build_whose_last_object_is_refused_is_not_there(store: ModelStore, server: BucketServer) -> None:
    server.refuses = lambda method, path: "AccessDenied" if method == "PUT" and path.endswith("manifest.json") else None
    with pytest.raises(
        StoreError, match="could not be written: .* refuses it to the key in AWS_ACCESS_KEY_ID: AccessDenied"
    ):
        publish(store, made(5))
    assert (store.builds("delay_net"), store.models()) == ([], ())


def test_build_of_a_killed_process_is_not_seen(store: ModelStore) -> None:
    folder = store.root / "delay_net" / made(5).reference
    (folder / "model.onnx").write_bytes(GRAPH)
    assert store.builds("delay_net") == []
    with pytest.raises(NoChampionError, match="it has no builds"):
        store.champion("delay_net")


def test_no_champion_says_that_nothing_lies_there(store: ModelStore) -> None:
    with pytest.raises(NoChampionError, match=r"in s3://team/\w+/models/: nothing lies there"):
        store.champion("delay_net")


@pytest.mark.soak
def test_no_promotion_is_lost_whoever_promotes_at_once(store: ModelStore) -> None:
    builds = publish(store, *(made(month, token=month) for month in range(1, 9)))

    def promote(build: str) -> None:
        def change(aliases: Aliases) -> Aliases:
            return own.with_champion(aliases, build, reason="at once")

        own = ModelStore(str(store.root), lock_timeout=60)
        own.change_aliases("delay_net", change)

    threads = [threading.Thread(target=promote, args=(build,)) for build in builds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = store.aliases("delay_net").history
    assert sorted(one.champion for one in history) == builds
    assert [one.previous for one in history] == [None, *(one.champion for one in history[:-1])]


_PROMOTE = """
import sys
from fti_assets.errors import AliasConflictError
from fti_assets.stores.models.store import ModelStore
store = ModelStore(sys.argv[1])
sys.stdin.readline()
try:
    store.promote("delay_net", sys.argv[2], expected=sys.argv[3], reason="a race")
    print("won")
except AliasConflictError as error:
    print("lost", error)
"""


@pytest.mark.soak
def test_of_two_processes_that_promote_on_one_comparison_one_wins(store: ModelStore) -> None:
    first, *rivals = publish(store, made(4, token=4), made(5, token=5), made(6, token=6))
    store.promote("delay_net", first, expected=None, reason="the first")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROMOTE, str(store.root), rival, first],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for rival in rivals
    ]  # fmt: skip
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0] for process in processes]
    assert sorted(answer[:4].strip() for answer in answers) == ["lost", "won"], answers
    winner = rivals[next(place for place, answer in enumerate(answers) if answer.startswith("won"))]
    assert [one.champion for one in store.aliases("delay_net").history] == [first, winner]


def test_answer_that_is_lost_on_its_way_is_no_conflict(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object is written, the answer does not come, and the client's second try meets its own object."""
    from fti_assets.stores.buckets.path import BucketPath

    (build,) = publish(store, made(5))
    put = BucketPath.write_new

    def write_twice(path: BucketPath, content: bytes) -> str:
        put(path, content)
        return put(path, content)

    monkeypatch.setattr(BucketPath, "write_new", write_twice)
    assert store.promote("delay_net", build, expected=None, reason="once").champion == build
    publish(store, made(6, token=6))
    assert (len(store.aliases("delay_net").history), len(store.builds("delay_net"))) == (1, 2)


def test_retired_builds_go_and_cannot_be_promoted_while_they_do(store: ModelStore, server: BucketServer) -> None:
    old, champion, _ = publish(store, made(4, token=4), made(5, token=5), made(6, token=6))
    store.promote("delay_net", champion, expected=None, reason="the first")
    server.refuses = lambda method, path: "AccessDenied" if method in ("DELETE", "POST") else None
    with pytest.raises(StoreError, match="AccessDenied"):
        retire(store, "delay_net", Policy(keep=1), by="ann")
    with pytest.raises(StoreError, match="it was retired"):
        store.promote("delay_net", old, expected=champion, reason="too late")
    server.refuses = lambda method, path: None
    assert list(retire(store, "delay_net", Policy(keep=1), by="ann").sizes) == [old]
    assert [one.reference for one in store.builds("delay_net")] == [champion, made(6, token=6).reference]
    assert not any(f"{store.root.key}/delay_net/{old}" in key for key in server.keys("team"))


def test_wrong_key_is_named_and_what_to_do(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (build,) = publish(store, made(5))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    for ask in (
        lambda: store.champion("delay_net"),
        lambda: store.builds("delay_net"),
        lambda: store.load("delay_net", build),
    ):
        with pytest.raises(
            StoreError, match="InvalidAccessKeyId.*set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) as caught:
            ask()
        assert "s3cret" not in str(caught.value)


def test_clock_off_by_an_hour_is_named(store: ModelStore, server: BucketServer) -> None:
    publish(store, made(5))
    server.clock = timedelta(hours=1)
    with pytest.raises(StoreError, match="RequestTimeTooSkewed.*compare this machine's clock with the store's"):
        store.builds("delay_net")


def test_store_that_does_not_answer_is_named(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from fti_assets.stores.buckets import client

    monkeypatch.setattr(client, "_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="127.0.0.1:1 does not answer.*Check that the object store runs"):
        store.champion("delay_net")


@pytest.mark.parametrize("address", ["s3://", "s3:///models", "s3://team/../models", "s3://team/models?key=1"])
def test_address_without_a_bucket_is_refused(address: str) -> None:
    with pytest.raises(StoreError, match="write it as s3://bucket/folder"):
        ModelStore(address)


def test_history_orders_by_the_store_and_not_by_a_clock(store: ModelStore) -> None:
    """A machine whose clock is an hour behind promotes last: it is the champion, and its change stands last."""
    from fti_assets.core import clock

    first, second = publish(store, made(5), made(6, token=6))
    store.promote("delay_net", first, expected=None, reason="the first")
    with clock.at(datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)):
        store.promote("delay_net", second, expected=first, reason="behind")
    aliases = store.aliases("delay_net")
    assert aliases.champion == aliases.history[-1].champion == second
    assert to_json(aliases)
