"""Encoding a block of rows: each text once, however many rows have it, by the nodes of the encoder graph itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fti_assets.training.encoders.encoders import DENSE
from fti_assets.training.encoders.graph import EncoderModel, build_encoder


@dataclass(frozen=True)
class Words:
    """A column of text: its different values, and of each row the place of its value."""

    distinct: np.ndarray
    codes: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The column as a canonical array ``[n]``."""
        return np.asarray(self.distinct[self.codes])


Block = Mapping[str, np.ndarray | Words]


class BlockEncoder:
    """What an encoder graph makes of blocks whose texts are ``Words``.

    A feature's columns depend on that feature alone, so those of text are computed for its different values.
    """

    def __init__(self, encoder: EncoderModel) -> None:
        self.encoder = encoder
        texts = [one for one in encoder.features if one.type == "text"]
        others = [one for one in encoder.features if one.type != "text"]
        parts = [[one] for one in texts] + ([others] if others else [])
        self._parts = [build_encoder(part, {one.name: encoder.encoders[one.name] for one in part}) for part in parts]
        places = {name: at for at, name in enumerate(encoder.dense_columns)}
        self._places = [[places[name] for name in part.dense_columns] for part in self._parts]

    def empty(self, rows: int) -> dict[str, np.ndarray]:
        """Encoded rows to be filled in."""
        codes = {name: np.empty((rows, 1), dtype=np.int64) for name in self.encoder.cardinalities}
        return {DENSE: np.empty((rows, self.encoder.dense_dim), dtype=np.float32)} | codes

    def fill(self, arrays: Mapping[str, np.ndarray], start: int, block: Block, rows: np.ndarray | None = None) -> int:
        """Put a block, or some rows of it, into encoded rows from ``start`` on, and give where they end."""
        end = start
        for part, places in zip(self._parts, self._places, strict=True):
            first = block[part.features[0].name]
            if isinstance(first, Words):
                codes = first.codes if rows is None else first.codes[rows]
                table = part.encode({part.features[0].name: first.distinct})
                encoded = {name: values[codes] for name, values in table.items()}
            else:
                encoded = part.encode({one.name: _plain(block[one.name], rows) for one in part.features})
            end = start + len(encoded[DENSE])
            if len(places) == self.encoder.dense_dim and places == list(range(len(places))):
                arrays[DENSE][start:end] = encoded[DENSE]
            elif places:
                arrays[DENSE][start:end, places] = encoded[DENSE]
            for name in part.cardinalities:
                arrays[name][start:end] = encoded[name]
        return end


def _plain(values: np.ndarray | Words, rows: np.ndarray | None) -> np.ndarray:
    whole = values.values if isinstance(values, Words) else values
    return whole if rows is None else np.asarray(whole[rows])
