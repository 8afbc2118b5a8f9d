"""A service that is killed by SIGKILL at random instants: no event is lost, none is there twice, and the hash is that of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fti_assets.core import clock
from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.events.reading import EventReader
from fti_assets.features.online.load import load_online
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from tests.support.killed_service import group_of

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kills", "seed"), [(2, 1), pytest.param(300, 2, marks=pytest.mark.soak)], ids=["a few", "many"]
)
def test_no_event_is_lost_or_doubled_by_kills(kills, seed, tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_service", str(tmp_path), str(kills), str(seed)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-4_000:]
    events, group, windows = group_of(tmp_path)
    events.look()
    stored = events.events
    assert len(stored) == int(answer.stdout) > 0
    intake = EventReader(group, group_decoder(group)).read(stored)
    with OfflineStore(tmp_path / "lake").connect() as lake, OfflineStore(tmp_path / "batch").connect() as batch:
        letters = lake.connection.execute(
            "SELECT shard, sequence FROM lake.streaming.payments_v1_dead_letters ORDER BY ALL"
        ).fetchall()
        assert letters == sorted((one.shard, one.sequence) for one in intake.dead_letters)
        batch.connection.register("arrived", intake.rows)
        batch.connection.execute(
            "CREATE TEMP TABLE staged AS SELECT * EXCLUDE (_fti_shard, _fti_sequence) FROM arrived"
        )
        batch.replace(group.table, "staged", sorted(set(intake.rows["_partition"].to_pylist())), asset="payments")
        versions = {key: (one.data_version, one.rows) for key, one in batch.ledger(group.table).items()}
        assert versions == {key: (one.data_version, one.rows) for key, one in lake.ledger(group.table).items()}
        online, whole = online_store(str(tmp_path / "online")), online_store(str(tmp_path / "whole"))
        now = clock.now()
        with clock.at(now):
            for target in (group, windows):
                load_online(lake, whole, target)
    for target in (group, windows):
        reader, other = (one.reader(target.table_name) for one in (online, whole))
        keys = {key for key, _ in whole.everything(target.table_name)[1]}
        assert keys == {key for key, _ in online.everything(target.table_name)[1]}
        since = max(one.about(target.table_name).answers_from_us for one in (online, whole))
        instants = [event.stored_at for event in stored[:: max(1, len(stored) // 200)] if event.stored_at >= since]
        assert instants
        for key in keys:
            for at_us in instants:
                assert reader.get((key.decode(),), at_us=at_us) == other.get((key.decode(),), at_us=at_us)
