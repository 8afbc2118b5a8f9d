"""What is particular to the online store on Redis."""

import builtins
import gc
import os
import threading
import time
from collections.abc import Iterator

import pytest

from fti_assets.errors import DamagedError, MissingExtraError, StoreError
from fti_assets.stores.online.redis import reads as redis_reads
from fti_assets.stores.online.redis.store import RedisOnlineStore
from fti_assets.stores.online.store import Schema, Winner, online_store
from tests.stores.online_stores import TEMP, load, redis_client, redis_location

SCHEMA = Schema(("text",), TEMP, event_time=True)


@pytest.fixture
def location() -> Iterator[str]:
    with redis_location() as result:
        yield result


@pytest.fixture
def store(location: str) -> RedisOnlineStore:
    return RedisOnlineStore(location, lock_seconds=1)


def names(store: RedisOnlineStore) -> set[str]:
    """The keys on the server, without the store's prefix."""
    prefix = store.location.rpartition("=")[2]
    with redis_client() as client:
        return {name.decode().removeprefix(f"{prefix}:") for name in client.scan_iter(f"{prefix}:*", count=1000)}


def rows(store: RedisOnlineStore) -> set[str]:
    return {name for name in names(store) if name.startswith("rows:")}


def test_url_is_server_and_two_prefixes_are_two_stores(location):
    store = online_store(location)
    assert isinstance(store, RedisOnlineStore)
    other = online_store(f"{location}-other")
    load(store, [(("a",), [(0, 0, (1.0,))])])
    assert (store.namespaces(), other.namespaces()) == (("weather_v1",), ())


def test_what_whole_load_replaces_is_removed_with_switch(store):
    for n in range(3):
        load(store, [((f"k{i}",), [(0, 0, (float(n),))]) for i in range(3)])
        assert len(rows(store)) == 1
    store.drop("weather_v1")
    assert names(store) == {"count"}


def test_a_load_that_fails_leaves_nothing_behind(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    before = names(store)

    def failing():
        for i in range(20_000):
            yield f"k{i:05}".encode(), b"x"
        raise KeyError("lake")

    with store.writing("weather_v1") as writer, pytest.raises(KeyError):
        writer.load(SCHEMA, failing(), answers_from=None, snapshot=2, origin="")
    assert names(store) == before


def test_what_killed_load_left_expires_and_is_removed_by_next_one(store):
    """What stands beside a namespace is on a list before its first row is written, and has a time to live."""
    load(store, [(("a",), [(0, 0, (1.0,))])])
    (serving,) = rows(store)
    observed = []

    def killed():
        for i in range(20_000):
            yield f"k{i:05}".encode(), b"x"
        (staged,) = rows(store) - {serving}
        with redis_client() as client:
            prefix = store.location.rpartition("=")[2]
            observed.append(client.ttl(f"{prefix}:{staged}"))
            client.copy(f"{prefix}:{staged}", f"{prefix}:kept")
            client.copy(f"{prefix}:staged:weather_v1", f"{prefix}:kept-list")
        raise KeyError(staged)

    with store.writing("weather_v1") as writer, pytest.raises(KeyError) as left:
        writer.load(SCHEMA, killed(), answers_from=None, snapshot=2, origin="")
    assert 0 < observed[0] <= 3600
    with redis_client() as client:  # as the kill would have left it
        prefix = store.location.rpartition("=")[2]
        client.rename(f"{prefix}:kept", f"{prefix}:{left.value.args[0]}")
        client.rename(f"{prefix}:kept-list", f"{prefix}:staged:weather_v1")
    assert len(rows(store)) == 2
    assert store.reader("weather_v1").holds(("a",))
    load(store, [(("b",), [(0, 0, (1.0,))])])
    assert len(rows(store)) == 1
    assert store.reader("weather_v1").holds(("b",))


def test_namespace_that_names_another_is_damage_until_it_is_loaded(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    load(store, [(("a",), [(0, 0, (2.0,))])], "other_v1")
    key = f"{store.location.rpartition('=')[2]}:about"
    with redis_client() as client:
        client.hset(key, "weather_v1", client.hget(key, "other_v1"))
    with pytest.raises(DamagedError, match="weather_v1 has the rows of 'other_v1'"):
        store.reader("weather_v1")
    load(store, [(("a",), [(0, 0, (3.0,))])])
    assert [store.reader(name).get(("a",), 0).values for name in ("weather_v1", "other_v1")] == [(3.0,), (2.0,)]


def test_what_serves_does_not_expire(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    with redis_client() as client:
        prefix = store.location.rpartition("=")[2]
        assert [client.ttl(f"{prefix}:{name}") for name in names(store)] == [-1] * len(names(store))


@pytest.mark.parametrize("write", ["load", "apply", "delete", "drop"])
def test_a_writer_without_its_lock_is_refused(store, write):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    prefix = store.location.rpartition("=")[2]
    with store.writing("weather_v1") as late:
        with redis_client() as client:  # as if it had been cut off for longer than its lock lives
            client.delete(f"{prefix}:lock:weather_v1")
        load(store, [(("a",), [(0, 0, (2.0,))])], snapshot=5)
        blobs, noted = iter([(b"a", b"x")]), {"answers_from": None, "snapshot": 2, "origin": ""}
        writes = {
            "load": lambda: late.load(SCHEMA, blobs, **noted),
            "apply": lambda: late.apply(blobs, (), **noted),
            "delete": lambda: late.delete([b"a"]),
            "drop": late.drop,
        }
        with pytest.raises(StoreError, match="lock of online namespace 'weather_v1' in redis.* was lost"):
            writes[write]()
    assert store.snapshot("weather_v1") == 5
    assert store.reader("weather_v1").get(("a",), 0) == Winner(0, 0, (2.0,))
    assert len(rows(store)) == 1


def test_a_lock_outlives_its_seconds_while_its_writer_lives(store):
    entered = threading.Event()

    def second() -> None:
        with store.writing("weather_v1"):
            entered.set()

    thread = threading.Thread(target=second)
    with store.writing("weather_v1"):
        thread.start()
        assert not entered.wait(1.6)
    assert entered.wait(5)
    thread.join()


def test_lock_is_free_again_when_its_writer_is_gone(store):
    with redis_client() as client:
        prefix = store.location.rpartition("=")[2]
        client.set(f"{prefix}:lock:weather_v1", "a killed one", px=300)
    start = time.monotonic()
    load(store, [])
    assert 0.2 < time.monotonic() - start < 30


def test_rows_that_server_has_evicted_are_error_and_no_missing_feature(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    (place,) = rows(store)
    with redis_client() as client:
        client.delete(f"{store.location.rpartition('=')[2]}:{place}")
    for read in (lambda: reader.get(("a",), 0), lambda: reader.get_many([("a",)], 0), lambda: reader.holds(("a",))):
        with pytest.raises(DamagedError, match="rows of 'weather_v1' in the online store .* are gone: .*noeviction"):
            read()
    load(store, [(("a",), [(0, 0, (1.0,))])])
    assert reader.holds(("a",))


@pytest.mark.parametrize("marker", ["7", "seven", b"\xff", ""])
def test_rows_of_another_generation_than_is_said_are_damage(store, marker):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    (place,) = rows(store)
    with redis_client() as client:
        client.hset(f"{store.location.rpartition('=')[2]}:{place}", redis_reads.MARKER, marker)
    for read in (
        lambda: reader.get(("a",), 0),
        lambda: reader.get_many([("a",)], 0),
        lambda: reader.holds(("a",)),
        lambda: store.reader("weather_v1").get(("a",), 0),
    ):
        with pytest.raises(DamagedError, match="someone else removed or changed them"):
            read()
    with pytest.raises(StoreError, match="'weather_v1' in .* was written again"):
        store.everything("weather_v1")
    load(store, [(("a",), [(0, 0, (2.0,))])])
    assert reader.get(("a",), 0).values == (2.0,)


def test_keys_that_are_removed_by_hand_are_counted(store):
    load(store, [((key,), [(0, 0, (1.0,))]) for key in "abc"])
    assert store.counts("weather_v1") == (3, 3)
    (place,) = rows(store)
    with redis_client() as client:
        name = f"{store.location.rpartition('=')[2]}:{place}"
        client.hdel(name, next(field for field in client.hkeys(name) if b"b" in field))
    assert store.counts("weather_v1") == (3, 2)
    with store.writing("weather_v1") as writer:
        assert writer.count_keys() == 2


def test_an_absent_key_of_a_namespace_that_lost_one_is_damage(store):
    load(store, [((key,), [(0, 0, (1.0,))]) for key in "abc"])
    whole = store.reader("weather_v1")
    assert whole.get(("x",), 0) is None
    (place,) = rows(store)
    with redis_client() as client:
        name = f"{store.location.rpartition('=')[2]}:{place}"
        client.hdel(name, next(field for field in client.hkeys(name) if b"b" in field))
    for read in ("get", "get_many", "holds"):
        reader = store.reader("weather_v1")  # which has counted none within a second
        arguments = ([("a",), ("b",)], 0) if read == "get_many" else (("b",), 0)[: 1 if read == "holds" else 2]
        with pytest.raises(
            DamagedError, match="'?weather_v1'? says that it has 3 keys, and has 2: .* Load the group again"
        ):
            getattr(reader, read)(*arguments)
        assert store.reader("weather_v1").get(("a",), 0) is not None
    load(store, [((key,), [(0, 0, (1.0,))]) for key in "abc"])
    assert not store.reader("weather_v1").holds(("x",))


@pytest.mark.soak
def test_absent_keys_are_answered_while_another_writes(location, monkeypatch):
    """A count and a generation that are not of one state accuse nobody."""
    monkeypatch.setattr(redis_reads, "_CHECK_SECONDS", 0.0)
    store = RedisOnlineStore(location)
    load(store, [(("a",), [(0, 0, (1.0,))])])
    over = threading.Event()

    def write():
        for n in range(100):
            with store.writing("weather_v1") as writer:
                fields = {"answers_from": None, "snapshot": n + 2, "origin": "test"}
                writer.apply([(f"k{n:03}".encode(), whole)], [], **fields)
        over.set()

    _, blobs = store.everything("weather_v1")
    ((_, whole),) = blobs
    thread = threading.Thread(target=write)
    thread.start()
    reader = store.reader("weather_v1")
    reads = 0
    while not over.is_set():
        assert reader.get(("x",), 0) is None
        reads += 1
    thread.join()
    assert reads > 20
    assert store.counts("weather_v1") == (101, 101)


@pytest.mark.parametrize(
    ("policy", "limit", "warned"),
    [
        ("allkeys-lru", 10**12, True),
        ("allkeys-lru", 0, False),
        ("volatile-lru", 10**12, False),
        ("noeviction", 10**12, False),
    ],
)
def test_a_server_that_may_evict_rows_is_told_of(store, caplog, policy, limit, warned):
    with redis_client() as client:
        before = client.config_get("maxmemory*")
        try:
            client.config_set("maxmemory", limit)
            client.config_set("maxmemory-policy", policy)
            load(store, [(("a",), [(0, 0, (1.0,))])])
        finally:
            client.config_set("maxmemory", before["maxmemory"])
            client.config_set("maxmemory-policy", before["maxmemory-policy"])
    assert ("may drop rows: its maxmemory-policy is allkeys-lru" in caplog.text) == warned


def test_a_connection_that_the_server_closed_is_made_anew(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    reader._reader._fetcher._server.connection()._sock.shutdown(2)
    assert reader.get(("a",), 0) == Winner(0, 0, (1.0,))


def test_an_error_of_the_server_is_told_and_the_next_read_is_in_step(store):
    load(store, [(("a",), [(0, 0, (1.0,))]), (("b",), [(0, 0, (2.0,))])])
    reader = store.reader("weather_v1")
    assert reader.get(("a",), 0).values == (1.0,)
    (place,) = rows(store)
    name = f"{store.location.rpartition('=')[2]}:{place}"
    with redis_client() as client:
        client.rename(name, f"{name}-away")
        client.set(name, "no hash")
        with pytest.raises(StoreError, match="cannot be used: WRONGTYPE"):
            reader.get(("a",), 0)
        client.rename(f"{name}-away", name)
    assert reader.get(("b",), 0).values == (2.0,)
    assert reader.get(("a",), 0).values == (1.0,)


def test_a_server_that_is_too_late_is_told(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    with redis_client() as client:
        reader._reader._fetcher._server.connection()._sock.settimeout(0.05)
        client.client_pause(300)
        with pytest.raises(StoreError, match="cannot be used: Timeout"):
            reader.get(("a",), 0)
        client.client_unpause()
    assert reader.get(("a",), 0).values == (1.0,)


def test_a_thread_that_ends_closes_its_connection(store):
    """Though no cycles are collected."""
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader, answers, counts = store.reader("weather_v1"), [], []
    gc.disable()
    try:
        for _ in range(10):
            thread = threading.Thread(target=lambda: answers.append(reader.get(("a",), 0).values))
            thread.start()
            thread.join()
            counts.append(len(os.listdir("/proc/self/fd")))
    finally:
        gc.enable()
    assert answers == [(1.0,)] * 10
    assert counts == counts[:1] * 10


def test_server_that_does_not_answer_is_named_without_its_password():
    store = online_store("redis://flights:secret@127.0.0.1:1/0?prefix=x")
    for use in (store.namespaces, lambda: store.reader("weather_v1"), lambda: load(store, [])):
        with pytest.raises(
            StoreError, match=r"redis://flights:\*\*\*@127.0.0.1:1/0\?prefix=x cannot be used"
        ) as problem:
            use()
        assert "secret" not in str(problem.value)
    assert "secret" not in str(store)
    assert "secret" in store.location


@pytest.mark.parametrize("location", ["redis://host:many/0", "redis://127.0.0.1:6379/0?socket_timeout=long"])
def test_an_address_that_is_none_is_refused(location):
    with pytest.raises(StoreError, match="is no address of a Redis server"):
        online_store(location)


def test_without_its_client_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without_redis(name, *arguments, **named):
        if name == "redis":
            raise ModuleNotFoundError(name, name=name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(
        MissingExtraError,
        match=r"redis://h:\*\*\*@x/0 needs redis, which is not installed: pip install 'fti-assets\[redis\]'",
    ):
        online_store("redis://h:secret@x/0")


@pytest.mark.parametrize("location", ["redis://h/0?password=secret&prefix=x", "redis://:secret@h/0?username=u"])
def test_no_password_is_shown(location):
    store = online_store(location)
    assert "secret" not in str(store)
    assert "secret" in store.location


@pytest.mark.parametrize(
    "location",
    [
        "redis://[::1",
        "redis://h:port/0",
        "redis://h:99999/0",
        "redis://h/0?PASSWORD=secret",
        "redis://h/0?ssl_keyfile=secret",
    ],
)
def test_an_address_that_cannot_be_read_is_refused(location):
    with pytest.raises(StoreError, match="is no address of a Redis server"):
        online_store(location)
