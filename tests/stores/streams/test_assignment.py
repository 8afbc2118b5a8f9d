"""Who reads which shard: each one instance, and never two at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.streams.assignment import hold_shards, partition_for, shards_of

NAMES = ["a", "b", "c", "d", "e"]


def test_each_shard_has_one_instance() -> None:
    for instances in range(1, 6):
        chosen = [shard for one in range(1, instances + 1) for shard in shards_of(one, instances, NAMES, what="s")]
        assert sorted(chosen) == [0, 1, 2, 3, 4]
    with pytest.raises(
        DeclarationError, match="has 5 shards, so that instance 6 of 6 gets none: start 5 instances at most"
    ):
        shards_of(6, 6, NAMES, what="NATS stream payments")
    for instance in (0, 3):
        with pytest.raises(DeclarationError, match=f"instance {instance} is not between 1 and 2"):
            shards_of(instance, 2, NAMES, what="s")


def test_a_key_is_in_one_shard_for_ever() -> None:
    assert [partition_for(f"card {number}", 8) for number in range(6)] == [7, 1, 3, 5, 6, 0]
    assert partition_for("é", 1_000) == partition_for("é".encode(), 1_000)
    counts = [0] * 4
    for number in range(4_000):
        counts[partition_for(f"card {number}", 4)] += 1
    assert min(counts) > 800


def test_two_services_never_hold_one_shard(tmp_path: Path) -> None:
    folder = tmp_path / "payments_v1"
    with hold_shards(folder, [0, 2], NAMES, what="payments"):
        with hold_shards(folder, [1, 3], NAMES, what="payments"):
            pass
        with (
            pytest.raises(
                StoreError, match=r"payments: shard 2 \('c'\) is read by another service whose outbox lies in"
            ),
            hold_shards(folder, [1, 2], NAMES, what="payments"),
        ):
            pass
        with hold_shards(folder, [1], NAMES, what="payments"):  # which the refused one has let go
            pass
    code = (
        "import sys, time, pathlib\n"
        "from fti_assets.stores.streams.assignment import hold_shards\n"
        f"with hold_shards(pathlib.Path({str(folder)!r}), [2], list('abcde'), what='payments'):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(StoreError, match="shard 2"), hold_shards(folder, [0, 2], NAMES, what="payments"):
        pass
    other.kill()
    other.communicate()
    with hold_shards(folder, [0, 2], NAMES, what="payments"):  # a lock ends with its process
        pass
