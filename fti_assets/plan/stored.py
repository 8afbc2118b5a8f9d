"""What is stored of each declaration, by which code it was made, and what it took: the figures that a plan rests on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import WHOLE, PartitionRecord, TableName
from fti_assets.orchestration.declaration import Declaration, TableDeclaration
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.lake.work import code_version_in, seconds_in
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.models.model import Servable


@dataclass(frozen=True)
class Made:
    """One partition of an asset: the code version that made it, None if nobody noted it, its rows and the seconds that it took."""

    code_version: str | None
    rows: int
    seconds: float | None


@dataclass(frozen=True)
class Estimate:
    """What some partitions come to: rows and seconds, None where no run has told anything like it."""

    rows: int | None
    seconds: float | None

    def __add__(self, other: Estimate) -> Estimate:
        rows = None if self.rows is None or other.rows is None else self.rows + other.rows
        return Estimate(rows, _sum([self.seconds, other.seconds]))


class Stored:
    """The partitions of the lake and the builds of the model store, by declaration."""

    def __init__(self, lake: LakeReader, models: ModelStore) -> None:
        self.lake, self.models = lake, models
        self._made: dict[str, Mapping[str, Made]] = {}

    def made(self, declaration: Declaration) -> Mapping[str, Made]:
        """The partitions that are there; of a model the accepted builds by cutoff: of each that of this code, else the newest."""
        name = f"{type(declaration).__name__} {declaration.asset_name}"
        if name not in self._made:
            self._made[name] = self._look(declaration)
        return self._made[name]

    def keys(self, declaration: Declaration) -> Collection[str]:
        return self.made(declaration).keys()

    def estimate(self, declaration: Declaration, keys: Iterable[str]) -> Estimate:
        """What some partitions come to: by their own last runs, else by the median of the others, else of another version's."""
        made = self.made(declaration) or self._of_another_version(declaration)
        if not made:
            return Estimate(None, None)
        rows = median(one.rows for one in made.values())
        times = [one.seconds for one in made.values() if one.seconds is not None]
        usual = median(times) if times else None
        its = [made.get(key) or Made(None, int(rows), usual) for key in keys]
        seconds = [usual if one.seconds is None else one.seconds for one in its]
        return Estimate(sum(one.rows for one in its), _sum(seconds))

    def versions_before(self, declaration: Declaration) -> list[TableName]:
        """The tables of other versions of a declaration that are stored, the newest first."""
        if not isinstance(declaration, TableDeclaration):
            return []
        of_name = [
            (int(version), table)
            for table in self.tables
            for name, _, version in [table.name.rpartition("_v")]
            if table.schema == declaration.schema_name and name == declaration.name and version.isdigit()
        ]
        return [table for version, table in sorted(of_name, key=lambda one: -one[0]) if version != declaration.version]

    @cached_property
    def tables(self) -> list[TableName]:
        return self.lake.tables()

    def builds(self, model: str) -> list[ModelManifest]:
        """All builds of a model that can be read."""
        return self.models.readable_builds(model)

    def _of_another_version(self, declaration: Declaration) -> Mapping[str, Made]:
        for table in self.versions_before(declaration):
            return {key: _made_of(record) for key, record in self.lake.ledger(table).items()}
        return {}

    def _look(self, declaration: Declaration) -> Mapping[str, Made]:
        if isinstance(declaration, TableDeclaration):
            if not declaration.is_stored or declaration.table not in self.tables:
                return {}
            return {key: _made_of(record) for key, record in self.lake.ledger(declaration.table).items()}
        if isinstance(declaration, Servable):
            declared, results = declaration.assets_def.code_versions_by_key[declaration.key], dict[str, Made]()
            failed = {one.build for one in self.models.aliases(declaration.name).unpromoted}
            for build in self.builds(declaration.name):
                is_made = build.status == "accepted" and build.reference not in failed
                if build.version == declaration.version and is_made:
                    key = build.dataset.partition or WHOLE
                    if key in results and results[key].code_version == declared:
                        continue  # what this code has made of a cutoff, whatever else was tried there
                    results[key] = Made(build.code_version, sum(build.dataset.rows.values()), build.seconds)
            return results
        return {}


def _made_of(record: PartitionRecord) -> Made:
    return Made(code_version_in(record), record.rows, seconds_in(record))


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None if one is not."""
    numbers = list(values)
    return None if None in numbers else sum(value for value in numbers if value is not None)
