"""Rows that failed validation, kept aside to look at."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fti_assets.features.rows.staging import Staged
from fti_assets.features.validation.validation import REJECTED_ROWS
from fti_assets.stores.files import write_atomically, written


def keep_rejected(file: Path, staged: Staged) -> Path:
    """Write some of the failing rows as JSON lines.

    Raises:
        StoreError: they cannot be written.
    """
    frames = [] if staged.failing is None else [staged.failing]
    frames += [
        pd.DataFrame(list(verdict.sample)) for verdict in staged.verdicts if not verdict.passed and verdict.sample
    ]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    rows = rows[~rows.astype(str).duplicated()].head(REJECTED_ROWS)
    content = rows.to_json(orient="records", lines=True, date_format="iso", default_handler=str).encode()
    with written(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    return file
