"""Writing a bundle: a build, what of the online store it may be asked for, and its on-demand code, in one file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from fti_assets.core import clock
from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.on_demand.shipped import sources_of
from fti_assets.core.records import to_json
from fti_assets.core.times import microseconds
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.inference.serving.bundle.keys import ChosenKeys, read_keys
from fti_assets.inference.serving.bundle.opening import CODE, KEYS, ONLINE, Bundle
from fti_assets.inference.serving.refusals import Strictness
from fti_assets.inference.serving.served_build import ServedBuild
from fti_assets.stores.bundles.archive import pack
from fti_assets.stores.bundles.models import CARD, GRAPH, MANIFEST
from fti_assets.stores.bundles.online import is_within, pack_rows
from fti_assets.stores.bundles.record import BundleRecord
from fti_assets.stores.files import guard_writes, read_file, readable, write_atomically
from fti_assets.stores.models.loaded_build import load_whole_build
from fti_assets.stores.models.samples import SAMPLES
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.about import About
from fti_assets.stores.online.keys import key_decoder
from fti_assets.stores.online.store import OnlineStore


@dataclass(frozen=True)
class WrittenBundle:
    """A bundle that was written: what it says of itself, the sha256 of its file and its bytes, and of each namespace how many keys
    the online store has."""

    record: BundleRecord
    sha256: str
    size: int
    keys_before: dict[str, int]


def write_bundle(
    path: Path,
    model: str,
    *,
    models: ModelStore,
    online: OnlineStore,
    answers_for: timedelta,
    build: str | None = None,
    keys: Path | None = None,
    overwrite: bool = False,
) -> WrittenBundle:
    """Write a model into one file, with what it answers from as it is now by the clock.

    The same stores at the same time of the clock give the same bytes. The bundle is opened before it is written, with none of the
    modules on this process's import path.

    Args:
        path: the file.
        model: its name.
        models: where its build is.
        online: where its groups are.
        answers_for: how long the bundle answers.
        build: which one; the champion by default.
        keys: a file as of ``read_keys``; all keys by default.
        overwrite: whether a file that is there is replaced.

    Raises:
        DeclarationError: it would answer beyond the year 9999.
        StoreError: there is a file, or it cannot be written, or a store cannot be read.
        FtiError: whatever ``Predictor.load`` says of the build, and ``read_keys`` of the keys.
    """
    with readable(path):
        if path.is_dir() or (path.exists() and not overwrite):
            raise StoreError(f"{path} already exists: name another file, or replace it with --replace")
    reference = build or models.champion(model).reference
    loaded_build = load_whole_build(models, model, reference)
    manifest = loaded_build.manifest
    joins = manifest.view.joins
    ServedBuild(loaded_build, online, Strictness())  # says of the stores what whoever loads it here would be told
    chosen_keys = None if keys is None else read_keys(keys, joins)
    as_of = clock.now()  # before the store is read: what comes meanwhile may be there or not
    if answers_for > datetime.max - as_of:
        raise DeclarationError(
            f"a bundle that answers for {answers_for.days} days answers beyond the year 9999: name fewer"
        )
    members = {
        MANIFEST: to_json(manifest).encode(),
        GRAPH: models.load(model, reference)[1],
        CARD: read_file(models.folder(manifest) / CARD) or b"",
        **{CODE + name: source for name, source in sources_of(manifest.on_demand).items()},
    }
    if SAMPLES in manifest.files:
        members[SAMPLES] = models.file(manifest, SAMPLES)
    if chosen_keys is not None:
        members[KEYS] = to_json(chosen_keys).encode()
    namespaces, keys_before = {}, {}
    for name in dict.fromkeys(group.table_name for group in joins):
        namespaces[name], members[ONLINE + name], keys_before[name] = _slice(online, name, joins, chosen_keys)
    record = BundleRecord(
        model,
        reference,
        as_of.isoformat(),
        microseconds(answers_for),
        namespaces,
        {name: hashlib.sha256(content).hexdigest() for name, content in sorted(members.items())},
        () if chosen_keys is None else chosen_keys.columns,
    )
    content = pack(record, members)
    bundle = Bundle(path, record, members)
    bundle.serve(loaded_build, bundle.online, Strictness())
    with guard_writes(path):
        write_atomically(path, content)
    return WrittenBundle(record, hashlib.sha256(content).hexdigest(), len(content), keys_before)


def _slice(
    online: OnlineStore, name: str, joins: tuple[JoinedGroup, ...], keys: ChosenKeys | None
) -> tuple[About, bytes, int]:
    """What a namespace's slice says of itself, the slice, and how many keys the namespace has."""
    about, rows = online.everything(name)
    key_slice = None if keys is None else keys.key_slice(joins, name)
    if key_slice is not None:
        decode = key_decoder(about.schema.key_types)
        pairs = [(key, blob) for key, blob in rows if is_within(decode(key), key_slice)]
    else:
        pairs = list(rows)
    # Neither says anything of the content, and both differ from store to store.
    return replace(about, keys=len(pairs), origin="", generation=1, place=""), pack_rows(pairs), about.keys
