"""What the files of a lake hold, compared with the data versions that were committed: a Parquet file has no checksum of its pages.

A flipped bit can turn a value into another one, which every reader then takes for what was stored. A data version is a content hash, so it
tells. Rows are read once and added up, some partitions at a time, so that memory does not grow with them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Self

import duckdb

from fti_assets.core.names import PARTITION, PartitionRecord, TableName, in_partitions
from fti_assets.errors import DamagedError, FtiError, StoreError, list_some
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.duckdb.content_hash import OF_DUCKDB, content_sums, data_version, hash_of, with_content
from fti_assets.stores.duckdb.file_damage import first_line
from fti_assets.stores.lake.files.current_files import CurrentFile, current_files
from fti_assets.stores.lake.files.damage import is_readable
from fti_assets.stores.lake.files.recorded_checksums import record_lacking
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.lake.tables.past_types import past_types

_ROWS, _PARTITIONS = 1_000_000, 500
"""How much is asked at once: a damaged file costs one more question about what was asked with it."""


@dataclass(frozen=True)
class DamagedPartition:
    """A partition whose files do not hold what was committed: which they are, and what is wrong with them."""

    table: TableName
    partition: str
    files: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        return f"{self.table.full_name} {self.partition}: {self.problem} ({list_some(self.files) if self.files else 'no file'})"


@dataclass
class Contents:
    """What a comparison of files with data versions found."""

    rows: int = 0
    partitions: int = 0
    damaged: list[DamagedPartition] = field(default_factory=list)
    not_comparable: list[str] = field(default_factory=list)
    """The partitions of another content than their version, which rests on the hash of another release of DuckDB."""

    def add(self, table: TableName, answer: _Answer) -> None:
        """Count what one batch of a table's partitions came to."""
        self.rows += answer.rows
        self.partitions += answer.partitions
        self.damaged += [DamagedPartition(table, key, tuple(files), problem) for key, files, problem in answer.damaged]
        self.not_comparable += [f"{table.full_name} {key}" for key in answer.not_comparable]

    def refuse_damage(self) -> None:
        """Raise a ``DamagedError`` that names the first damaged partitions and their files, if there are any."""
        if self.damaged:
            raise DamagedError(
                f"{len(self.damaged)} partitions do not hold what was committed: {list_some(map(str, self.damaged))}. "
                "Put the files back from a copy, or materialize these partitions again, which needs none of the old bytes"
            )


def compare_contents(
    lake: LakeReader, tables: Sequence[TableName], *, say: Callable[[str], None] = lambda sentence: None
) -> Contents:
    """Read every row of some tables once, and compare the content hash of each partition with the ledger's data version.

    It reads one snapshot and holds no lock, so that others go on writing. A process of its own reads: some flipped bits of a Parquet
    file's footer end DuckDB's process, and then the file is named, too.

    Args:
        lake: the open lake.
        tables: its tables.
        say: told of each table that was read.

    Raises:
        StoreError: the lake cannot be read for another reason than its files.
    """
    contents, snapshot = Contents(), lake.snapshot()
    with _Readers(lake.store.location, snapshot) as readers:
        for table in tables:
            before = contents.rows
            batches = deque(_in_batches(lake.ledger(table, snapshot=snapshot)))
            while batches:
                batch = batches.popleft()
                answer, end = readers.ask(table, batch)
                if answer is not None:
                    contents.add(table, answer)
                elif len(batch) > 1:  # which of them ended it, is found by halves
                    batches.extendleft([batch[len(batch) // 2 :], batch[: len(batch) // 2]])
                else:
                    paths = [file.path for file in current_files(lake, table, snapshot=snapshot, partitions=batch)]
                    problem = f"DuckDB's process ended with {end} while it read it"
                    contents.add(table, _Answer(partitions=1, damaged=[(batch[0], paths, problem)]))
            say(f"read {contents.rows - before} rows of {table.full_name}")
    _record_checksums(lake, tables, contents, snapshot)
    return contents


def _record_checksums(lake: LakeReader, tables: Sequence[TableName], contents: Contents, snapshot: int) -> None:
    """Give the files that have no checksum theirs, where their partitions hold what was committed and the lake can be written."""
    other = {(one.table, one.partition) for one in contents.damaged}
    lacking = {
        table: {file.partition for file in current_files(lake, table, snapshot=snapshot) if file.checksum is None}
        - {key for of, key in other if of == table}
        - {
            key
            for key in lake.ledger(table, snapshot=snapshot)
            if f"{table.full_name} {key}" in contents.not_comparable
        }
        for table in tables
    }
    if any(lacking.values()) and lake.store.may_write and not isinstance(lake.store.data, BucketPath):
        with lake.store.lock():
            for table, partitions in lacking.items():
                record_lacking(lake, table, partitions, snapshot=snapshot)


class _Readers:
    """Processes that read batches of partitions, one after another: the next begins when one has ended over a damaged file."""

    def __init__(self, location: str, snapshot: int) -> None:
        self._began = {"location": location, "snapshot": snapshot}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._end(self._process)

    def ask(self, table: TableName, partitions: Sequence[str]) -> tuple[_Answer | None, int]:
        """What a process found; or None and how it ended."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _READ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self._environment(),
            )
            self._tell(self._process, self._began)
        process = self._process
        self._tell(process, {"table": [table.schema, table.name], "partitions": list(partitions)})
        line = "" if process.stdout is None else process.stdout.readline()
        if not line:
            self._process = None
            return None, self._end(process)
        answer = json.loads(line)
        if "error" in answer:
            raise StoreError(answer["error"])
        return _Answer(**answer), 0

    def _environment(self) -> dict[str, str]:
        """The child finds this package wherever the parent did."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def _tell(self, process: subprocess.Popen[str], what: Mapping[str, object]) -> None:
        with suppress(BrokenPipeError):  # what it does not answer is told by its end
            assert process.stdin is not None
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()

    def _end(self, process: subprocess.Popen[str]) -> int:
        with suppress(BrokenPipeError):
            process.communicate()
        return process.returncode


def read_batches() -> None:
    """Answer questions on standard input until it ends, one a line; what the process of ``compare_contents`` does."""
    from fti_assets.stores.lake.location import offline_store  # which rests on this room

    began = json.loads(sys.stdin.readline())
    try:
        with offline_store(began["location"]).connect() as lake:
            # Each file is read once: DuckDB would keep its bytes until memory is short.
            lake.connection.execute("SET enable_external_file_cache = false")
            for line in sys.stdin:
                question = json.loads(line)
                table, partitions = TableName(*question["table"]), question["partitions"]
                answer = compare_batch(lake, table, began["snapshot"], partitions)
                print(json.dumps(asdict(answer)), flush=True)
    except FtiError as error:
        print(json.dumps({"error": str(error)}), flush=True)


_READ = "from fti_assets.stores.lake.files.contents import read_batches; read_batches()"


def _in_batches(records: Mapping[str, PartitionRecord]) -> Iterator[list[str]]:
    batch: list[str] = []
    rows = 0
    for key, record in records.items():
        if batch and (rows + record.rows > _ROWS or len(batch) == _PARTITIONS):
            yield batch
            batch, rows = [], 0
        batch.append(key)
        rows += record.rows
    if batch:
        yield batch


@dataclass
class _Answer:
    """What became of one batch: rows and partitions that were read, damaged ones with files and problem, and those not comparable."""

    rows: int = 0
    partitions: int = 0
    damaged: list[tuple[str, list[str], str]] = field(default_factory=list)
    not_comparable: list[str] = field(default_factory=list)


def compare_batch(lake: LakeReader, table: TableName, snapshot: int, partitions: Sequence[str]) -> _Answer:
    """Compare some partitions of a table in this process."""
    records, answer = lake.ledger(table, snapshot=snapshot, partitions=partitions), _Answer(partitions=len(partitions))
    files: dict[str, list[CurrentFile]] = {key: [] for key in records}
    for file in current_files(lake, table, snapshot=snapshot, partitions=partitions):
        files[file.partition].append(file)

    def add_damage(key: str, problem: str, of_files: Sequence[CurrentFile]) -> None:
        answer.damaged.append((key, [file.path for file in of_files], problem))

    open_records = dict(records)
    for key, of_partition in files.items():
        if absent := [file for file in of_partition if not file.exists()]:
            add_damage(key, "a file is missing, or of another size than was written", absent)
            del open_records[key]
        elif other := [file for file in of_partition if file.problem() is not None]:
            add_damage(key, "the bytes of a file are not those that were written", other)
            del open_records[key]
    try:
        wrong = _other_contents(lake, table, snapshot, open_records, files)
    except duckdb.Error as error:
        # One file keeps the others of the question from being read: each partition is asked for by itself.
        wrong = {}
        for key in [*open_records]:
            unreadable = [file for file in files[key] if not is_readable(lake, file)]
            try:
                if not unreadable:
                    wrong |= _other_contents(lake, table, snapshot, {key: open_records[key]}, files)
                    continue
                reason = first_line(str(error))
            except duckdb.Error as own:
                reason = first_line(str(own))
            add_damage(key, f"it cannot be read: {reason}", unreadable or files[key])
            del open_records[key]
    for key, problem in wrong.items():
        if hash_of(records[key].data_version) == OF_DUCKDB:
            answer.not_comparable.append(key)
        else:
            add_damage(key, problem, files[key])
    answer.rows = sum(record.rows for record in open_records.values())
    return answer


def _other_contents(
    lake: LakeReader,
    table: TableName,
    snapshot: int,
    records: Mapping[str, PartitionRecord],
    files: Mapping[str, Sequence[CurrentFile]],
) -> dict[str, str]:
    """The partitions of another content than their data version, and what is wrong with each."""
    partition_of = {file.path: key for key, of_partition in files.items() for file in of_partition}
    at_snapshot = f"{table.sql} AT (VERSION => {int(snapshot)})"
    now = {name: kind for name, kind, *_ in lake.connection.execute(f"DESCRIBE FROM {at_snapshot}").fetchall()}
    wrong: dict[str, str] = {}
    left = set(records)
    read: dict[tuple[str, ...], dict[str, tuple[int, ...]]] = {}
    for types in past_types(lake, table):
        for of in {hash_of(records[key].data_version) for key in left}:
            keys = [key for key in sorted(left) if hash_of(records[key].data_version) == of]
            columns = (of, *sorted(types.keys() & now.keys()))
            if len(columns) > 1 and columns not in read:
                # A column without values says the same in each type, so today's types read what was committed in others.
                rows = f"{at_snapshot} WHERE {in_partitions(keys)}"
                contents = with_content(
                    {name: now[name] for name in columns[1:]}, rows, of, columns=f"filename, {PARTITION}"
                )
                read[columns] = dict.fromkeys(keys, (0, 0, 0))
                query = f"SELECT filename, {PARTITION}, {content_sums(of)} FROM {contents} GROUP BY ALL"
                for path, partition, *of_file in lake.connection.execute(query).fetchall():
                    # By the file, whose partition the catalog knows, since what a row says of its own may be damaged, too.
                    key = partition_of.get(path, partition)
                    if key != partition:
                        wrong[key] = f"a file has rows of partition {partition!r}"
                    else:
                        pairs = zip(read[columns][key], of_file, strict=True)
                        read[columns][key] = tuple(one + int(other) for one, other in pairs)
            for key in keys:
                sums = read.get(columns, {}).get(key, (0, 0, 0))
                if sums[0] != records[key].rows:
                    wrong.setdefault(key, f"it has {sums[0]} rows, and {records[key].rows} were committed")
                elif data_version(types, sums, of) == records[key].data_version:
                    left.discard(key)
    return {
        key: wrong.get(key, f"its rows are not those of version {records[key].data_version}")
        for key in sorted(left | set(wrong))
    }
