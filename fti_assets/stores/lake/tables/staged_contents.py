"""What staged rows come to by partition: a data version, which is a hash of their content, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fti_assets.core.names import PARTITION, PartitionRecord
from fti_assets.core.sql import quote
from fti_assets.stores.duckdb.content_hash import FIXED, OF_DUCKDB, content_sums, data_version, hash_of, with_content
from fti_assets.stores.lake.reader import LakeReader


def contents_of(
    lake: LakeReader, staging: str, partitions: Sequence[str], *, hash_version: str = FIXED
) -> dict[str, tuple[str, int]]:
    """The data version and row count of each partition: a content hash that does not depend on the rows' order."""
    types = lake.staged_types(staging)
    hashes = lake.connection.execute(
        f"SELECT {PARTITION}, {content_sums(hash_version)} FROM "
        f"{with_content(types, quote(staging), hash_version, columns=PARTITION)} GROUP BY 1"
    ).fetchall()
    results = {partition: tuple(map(int, sums)) for partition, *sums in hashes}
    contents = {}
    for partition in partitions:
        sums = results.get(partition, (0, 0, 0))
        contents[partition] = (data_version(types, sums, hash_version), sums[0])
    return contents


def keep_earlier_hashes(
    lake: LakeReader, staging: str, contents: dict[str, tuple[str, int]], old: Mapping[str, PartitionRecord]
) -> None:
    """Give staged rows their stored version where it is of the earlier hash and they are the stored rows."""
    earlier = [key for key in contents if key in old and hash_of(old[key].data_version) == OF_DUCKDB]
    if not earlier:
        return
    # Rows that were stored under the earlier hash keep their version, or everything downstream would run once more.
    for key, content in contents_of(lake, staging, earlier, hash_version=OF_DUCKDB).items():
        if content == (old[key].data_version, old[key].rows):
            contents[key] = content
