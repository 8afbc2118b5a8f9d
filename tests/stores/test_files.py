import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fti_assets.core.home import folder_of
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores import files, folders, locks
from fti_assets.stores.files import read_file, readable, write_atomically
from fti_assets.stores.folders import publish_folder
from fti_assets.stores.locks import hold_lock

ROOT = Path(__file__).parents[2]


def run_python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def take(path: Path, timeout: float) -> None:
    with hold_lock(path, timeout):
        pass


def no_room(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_write_replaces_the_content_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "aliases.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["aliases.json"]


def test_a_failed_write_keeps_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "aliases.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(files.os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["aliases.json"]


def test_a_folder_is_published_whole(tmp_path):
    publish_folder(tmp_path / "v1" / "build", {"a": b"1", "b": b"2"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "v1" / "build").iterdir()} == {"a": b"1", "b": b"2"}
    assert os.listdir(tmp_path / "v1") == ["build"]


def test_a_published_folder_is_never_overwritten(tmp_path):
    publish_folder(tmp_path / "build", {"a": b"1"})
    with pytest.raises(StoreError, match=r"build is already there and never overwritten"):
        publish_folder(tmp_path / "build", {"a": b"2"})
    assert (tmp_path / "build" / "a").read_bytes() == b"1"


def test_a_folder_published_meanwhile_by_another_is_not_overwritten(tmp_path, monkeypatch):
    taken = tmp_path / "build"
    monkeypatch.setattr(folders, "sync_folder", lambda folder: taken.mkdir() or (taken / "a").write_bytes(b"1"))
    with pytest.raises(StoreError, match="already there"):
        publish_folder(taken, {"a": b"2"})
    assert (taken / "a").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["build"]


def test_a_failed_publish_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        publish_folder(tmp_path / "build", {"a": b"1"})
    assert os.listdir(tmp_path) == []


def test_threads_exclude_each_other(tmp_path):
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with hold_lock(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


HOLD = """
import sys, time
from pathlib import Path
from fti_assets.stores.locks import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_excluded_until_the_holder_dies(tmp_path):
    holder = run_python(HOLD, tmp_path / "lock")
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=r"the lock .*/lock was held by another thread or process for 0.05 s"):
            take(tmp_path / "lock", timeout=0.05)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        take(tmp_path / "lock", timeout=5)
    finally:
        holder.kill()
        holder.communicate()


def test_thread_that_waits_too_long_is_told_which_file(tmp_path):
    with hold_lock(tmp_path / "lock"), pytest.raises(StoreError, match="/lock was held"):
        take(tmp_path / "lock", timeout=0.01)


def test_a_failure_inside_frees_the_lock(tmp_path):
    with pytest.raises(KeyError), hold_lock(tmp_path / "lock"):
        raise KeyError
    take(tmp_path / "lock", timeout=0)


def test_a_removed_lock_file_does_not_let_two_in(tmp_path):
    path = tmp_path / "lock"
    holder = run_python(HOLD, path)
    try:
        assert holder.stdout.readline() == "held\n"
        threading.Timer(0.05, lambda: (path.unlink(), holder.kill())).start()
        with hold_lock(path, timeout=5):
            locks._threads.clear()
            with pytest.raises(StoreError):
                take(path, timeout=0.02)
    finally:
        holder.kill()
        holder.communicate()


def test_file_where_folder_belongs_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    expected = f"{tmp_path}/model is a file where a folder belongs: move it away"
    with pytest.raises(DamagedError, match=expected):
        read_file(tmp_path / "model" / "aliases.json")
    with pytest.raises(DamagedError, match=expected), readable(tmp_path / "model"):
        os.listdir(tmp_path / "model")
    with pytest.raises(StoreError, match=expected), hold_lock(tmp_path / "model" / ".lock"):
        pass


@pytest.mark.parametrize(
    "mistyped",
    [" redis://:hidden@h", "'redis://:hidden@h'", "redis:hidden@h", "redis//:hidden@h", "\tredis://x:hidden@h"],
)
@pytest.mark.parametrize("what", ["offline", "online", "model"])
def test_a_mistyped_address_is_no_folder_and_not_shown(mistyped, what):
    with pytest.raises(
        StoreError, match=f"the {what} store is named by text that looks like a mistyped address"
    ) as caught:
        folder_of(mistyped, what=what)
    assert "hidden" not in str(caught.value)


def test_a_path_with_nul_names_no_store():
    with pytest.raises(StoreError, match="a NUL character"):
        folder_of("stores\0/online", what="online")
