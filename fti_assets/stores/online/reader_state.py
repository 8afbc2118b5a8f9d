"""What a reader knows of the namespaces that it reads: their columns, generations and blobs' format, until they are loaded again."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fti_assets.core.manifest import Column
from fti_assets.errors import StoreError, one_of
from fti_assets.stores.online.about import About, readable
from fti_assets.stores.online.blobs import BlobFormat, Find, FindWhole
from fti_assets.stores.online.keys import column_encoder, key_encoder, row_encoder
from fti_assets.stores.online.row_cache import RowCache
from fti_assets.stores.online.versions import Key
from fti_assets.stores.online.winners import FindMany, WinnersFormat

_ALWAYS = -(2**63)


class NamespaceContent:
    """What a reader knows of one generation of a namespace."""

    def __init__(self, about: About, namespace: str, selection: Sequence[str] | None) -> None:
        self.about = readable(about, namespace)
        self.generation = about.generation
        self.answerable_us = _ALWAYS if about.answers_from_us is None else about.answers_from_us
        schema = about.schema
        positions = {column.name: position for position, column in enumerate(schema.columns)}
        names = list(positions) if selection is None else list(selection)
        if absent := [name for name in names if name not in positions]:
            raise StoreError(
                f"online namespace {namespace!r} has no column {one_of(absent)}: it has {one_of(positions)}. "
                "Load it from the group version that has the column"
            )
        self.columns = tuple(schema.columns[positions[name]] for name in names)
        self.encode = key_encoder(schema.key_types, namespace)
        if schema.windows is not None:
            # What puts windows together is half a dozen modules, which an app without any need not load.
            from fti_assets.stores.online.tails.layout import TailLayout
            from fti_assets.stores.online.tails.many import ManyWindows
            from fti_assets.stores.online.tails.reading import WindowsFormat

            windows = WindowsFormat(TailLayout(schema.windows), names)
            self.find: Find = windows.find
            self.find_whole: FindWhole = windows.find_whole
            self.find_many: FindMany = ManyWindows(windows, self.columns).find_whole
            return
        wanted_positions = [positions[name] for name in names]
        blobs = BlobFormat(schema.columns, event_time=schema.event_time, selection=wanted_positions)
        self.find = blobs.find
        self.find_whole = blobs.find_whole
        self.find_many = WinnersFormat(blobs, wanted_positions).find_whole


class ReaderState(NamedTuple):
    """What a reader knows of all its namespaces, replaced as one."""

    contents: tuple[NamespaceContent, ...]
    abouts: tuple[About, ...]
    columns: tuple[tuple[Column, ...], ...]
    generations: tuple[int | None, ...]
    answerable_us: int
    encoders: tuple[Callable[[Key], bytes], ...]
    finds: tuple[Find, ...]
    whole_finds: tuple[FindWhole, ...]
    row_encoders: tuple[Callable[[Sequence[Any]], bytes | None], ...]
    column_encoders: tuple[Callable[[Sequence[Sequence[Any]]], list[bytes | None]], ...]
    cache: RowCache


def reader_state(
    abouts: Sequence[About],
    selections: Sequence[tuple[str, Sequence[str] | None]],
    slots: Sequence[Sequence[int]],
    most_bytes: int,
) -> ReaderState:
    """What a reader knows of its namespaces.

    Args:
        abouts: what each namespace says of itself.
        selections: each namespace with the columns to return, None for all.
        slots: of each namespace, where a row has the parts of its key; empty if no rows are read.
        most_bytes: how much is kept of their rows.
    """
    contents = tuple(NamespaceContent(about, *selection) for about, selection in zip(abouts, selections, strict=True))
    placed = list(zip(contents, slots, strict=bool(slots)))
    return ReaderState(
        contents,
        tuple(abouts),
        columns=tuple(content.columns for content in contents),
        generations=tuple(content.generation for content in contents),
        answerable_us=max([content.answerable_us for content in contents], default=_ALWAYS),
        encoders=tuple(content.encode for content in contents),
        finds=tuple(content.find for content in contents),
        whole_finds=tuple(content.find_whole for content in contents),
        row_encoders=tuple(
            row_encoder(content.encode, content.about.schema.key_types, places) for content, places in placed
        ),
        column_encoders=tuple(
            column_encoder(content.encode, content.about.schema.key_types, places) for content, places in placed
        ),
        cache=RowCache(len(contents), most_bytes),
    )
