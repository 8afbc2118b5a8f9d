"""A reader of namespaces that change, or that never say of themselves what their rows are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from fti_assets.core.manifest import Column
from fti_assets.errors import DamagedError, DataError
from fti_assets.stores.online.about import About, Schema
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.fetcher import Many, One
from fti_assets.stores.online.keys import key_encoder
from fti_assets.stores.online.reader import NamespacesReader

SCHEMA = Schema(("text",), (Column("temp", "number"),), event_time=True)
KEY = key_encoder(("text",), "weather_v1")(("a",))
BLOB = BlobFormat(SCHEMA.columns, event_time=True).pack(KEY, [(0, 0, (1.0,))])


class Changing:
    """A namespace of which something else is said and read from call to call.

    Args:
        said: the generation that the namespace says it has, at each call.
        read: that of its rows, at each call.
    """

    def __init__(self, said: Callable[[], int], read: Callable[[], int | None]) -> None:
        self.said, self.read = said, read
        self.about = About(SCHEMA, None, 1, 1, "", 0)

    def abouts(self) -> list[About]:
        return [replace(self.about, generation=self.said())]

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
        return (self.read(),), [BLOB if key is not None else None for key in keys]

    def many(self, abouts: Sequence[About], keys: Sequence[Sequence[bytes]]) -> Many:
        return (self.read(),), [[BLOB] * len(of_namespace) for of_namespace in keys]

    def where(self, position: int) -> str:
        return "its file"


def reader(said: Callable[[], int], read: Callable[[], int | None]) -> NamespacesReader:
    return NamespacesReader(Changing(said, read), [("weather_v1", None)], [(0,)])


READS: list[Callable[[NamespacesReader], Any]] = [
    lambda one: one.get([("a",)], 0),
    lambda one: one.get_many([[("a",)]], 0),
    lambda one: one.find(("a",), 0),
    lambda one: one.find_many([["a", "a"]], 0),
    lambda one: one.holds(0, ("a",)),
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("generations", [lambda: None, lambda: 8, count(100).__next__])
def test_reads_that_never_fit_what_is_said_are_damage(
    read: Callable[[NamespacesReader], Any], generations: Callable[[], int | None]
) -> None:
    with pytest.raises(
        DamagedError, match=r"'weather_v1' is damaged: .*in 'its file'\). Remove it and load its group again"
    ):
        read(reader(lambda: 7, generations))


@pytest.mark.parametrize("read", READS)
def test_who_loads_all_the_time_fails_no_reader(read: Callable[[NamespacesReader], Any]) -> None:
    """Each read finds the rows of the load after the one that was said, a hundred times."""
    result, left = count().__next__, [100]
    newest = [0]

    def say() -> int:
        newest[0] = result()
        return newest[0]

    def find() -> int:
        left[0] -= 1
        return newest[0] + (1 if left[0] > 0 else 0)

    assert read(reader(say, find))
    assert left[0] == 0


def test_a_key_of_another_type_is_refused_and_not_damage() -> None:
    with pytest.raises(DataError):
        reader(lambda: 7, lambda: 8).get([(1,)], 0)
