"""A file in a bucket, which readers see as it was or as it is, and never in part."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fti_assets.core.addresses import scrub
from fti_assets.core.extras import named_extras
from fti_assets.errors import StoreError
from fti_assets.stores.buckets.access import s3_access

SCHEME = "s3://"
_SECONDS = 20


class ReplacedError(Exception):
    """What was uploaded is gone before it was in its place: another run cleaned up."""


def file_system() -> Any:
    """The object store that the ``AWS_`` variables name, as pyarrow's ``FileSystem``."""
    with named_extras("a sink in a bucket"):
        import pyarrow.fs
    access = s3_access()
    return pyarrow.fs.S3FileSystem(
        access_key=access.key_id or None,
        secret_key=access.secret or None,
        session_token=access.session_token or None,
        anonymous=not access.key_id,
        region=access.region,
        endpoint_override=access.endpoint or None,
        scheme=access.scheme or "https",
        connect_timeout=_SECONDS,
        request_timeout=_SECONDS,
    )


def put(local: Path, path: str, store: Any = None) -> None:
    """Put a file of this machine in place of ``<bucket>/<path>``.

    It is uploaded beside its place, and copied there by the store itself, which is one step for whoever reads. What killed runs left
    beside it is deleted, and what this one leaves when it fails.

    Raises:
        ReplacedError: a run at the same time took the upload for one of a killed run; do it again.
        StoreError: the store cannot be reached, or refuses it; what was there is still there.
    """
    import pyarrow as pa
    import pyarrow.fs

    access = s3_access()
    try:
        store = file_system() if store is None else store
        folder, _, name = path.rpartition("/")
        beside = pyarrow.fs.FileSelector(folder, allow_not_found=True)
        uploads = [one.path for one in store.get_file_info(beside) if one.base_name.startswith(f".{name}.")]
        upload = f"{folder}/.{name}.{secrets.token_hex(8)}.tmp"
        try:
            with pa.memory_map(str(local)) as file, store.open_output_stream(upload) as stream:
                stream.write(file.read_buffer())
            if store.get_file_info(upload).size != local.stat().st_size:
                raise ReplacedError(path)
            _move(store, upload, path)
        except BaseException:
            uploads = [upload]
            raise
        finally:
            for one in uploads:
                if store.get_file_info(one).is_file:
                    store.delete_file(one)
    except (OSError, pa.ArrowException) as error:
        reason = scrub(str(error).strip() or type(error).__name__, access.secrets)
        raise StoreError(f"{SCHEME}{path} could not be written: {reason}") from None  # it may repeat what it was given


def files_below(folder: str) -> dict[str, list[str]]:
    """The names of the files in each folder of a folder ``<bucket>/<path>``.

    Raises:
        StoreError: the store cannot be read.
    """
    with named_extras("a sink in a bucket"):
        import pyarrow as pa
        import pyarrow.fs
    result: dict[str, list[str]] = {}
    try:
        below = pyarrow.fs.FileSelector(folder, recursive=True, allow_not_found=True)
        for one in file_system().get_file_info(below):
            parts = one.path.removeprefix(f"{folder}/").split("/")
            if one.is_file and len(parts) == 2:
                result.setdefault(parts[0], []).append(parts[1])
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(folder, error) from None
    return result


def rows_of(path: str, columns: Iterable[str]) -> Any:
    """Some columns of a Parquet file ``<bucket>/<path>``, as an Arrow table.

    Raises:
        StoreError: it cannot be read.
    """
    with named_extras("a sink in a bucket"):
        import pyarrow as pa
        import pyarrow.parquet
    try:
        with file_system().open_input_file(path) as file:
            return pyarrow.parquet.read_table(file, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> StoreError:
    return StoreError(f"{SCHEME}{path} cannot be read: {scrub(str(error), s3_access().secrets)}")


def _move(store: Any, upload: str, path: str) -> None:
    try:
        store.move(upload, path)
    except OSError as error:
        if store.get_file_info(upload).is_file:
            raise
        raise ReplacedError(path) from error
