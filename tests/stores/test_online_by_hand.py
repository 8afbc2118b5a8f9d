"""The online reads that are benchmarked are those of a store used by hand."""

from pathlib import Path

import pytest

from benchmarks.online import READ, Reads, declared, fill
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store


@pytest.mark.soak
def test_reads_of_one_key_and_of_several_are_those_by_hand(tmp_path: Path) -> None:
    with OfflineStore(tmp_path / "lake").connect() as lake:
        for name in READ:
            fill(lake, declared(name), 50)
        reads = Reads(READ, "sqlite", online_store(str(tmp_path / "online")), lake, tmp_path, None, "")
        for users in (reads.users[:1], reads.users[3:10]):
            by_hand = reads.hand(users)
            assert [len(group) for group in by_hand] == [len(users)] * 3
            assert reads.values(users) == by_hand
