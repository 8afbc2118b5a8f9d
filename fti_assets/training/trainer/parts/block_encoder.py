"""Encoding a block of rows: each text once, however many rows have it, by the nodes of the encoder graph itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fti_assets.training.encoders.declarations import DENSE
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
    """What an encoder graph makes of blocks whose texts may be ``Words``.

    A feature's columns depend on that feature alone, so those of words are computed for the different ones.
    """

    def __init__(self, encoder: EncoderModel) -> None:
        self.encoder = encoder

    def empty(self, rows: int) -> dict[str, np.ndarray]:
        """Encoded rows to be filled in."""
        codes = {name: np.empty((rows, 1), dtype=np.int64) for name in self.encoder.cardinalities}
        return {DENSE: np.empty((rows, self.encoder.dense_dim), dtype=np.float32)} | codes

    def fill(self, arrays: Mapping[str, np.ndarray], start: int, block: Block, rows: np.ndarray | None = None) -> int:
        """Put a block, or some rows of it, into encoded rows from ``start`` on, and give where they end."""
        if not any(isinstance(values, Words) for values in block.values()):
            return self._put(arrays, start, self.encoder, _encoded(self.encoder, block, rows))
        end = start
        for part in self._parts:
            end = self._put(arrays, start, part, _encoded(part, block, rows))
        return end

    @cached_property
    def _parts(self) -> Sequence[EncoderModel]:
        """The encoder of each text, and that of all else."""
        features = self.encoder.features
        not_texts = [one for one in features if one.type != "text"]
        groups = [[one] for one in features if one.type == "text"] + ([not_texts] if not_texts else [])
        return [build_encoder(group, {one.name: self.encoder.encoders[one.name] for one in group}) for group in groups]

    def _put(
        self, arrays: Mapping[str, np.ndarray], start: int, part: EncoderModel, encoded: Mapping[str, np.ndarray]
    ) -> int:
        end = start + len(encoded[DENSE])
        if part.dense_columns == self.encoder.dense_columns:
            arrays[DENSE][start:end] = encoded[DENSE]
        elif part.dense_columns:
            places = [self._places[name] for name in part.dense_columns]
            arrays[DENSE][start:end, places] = encoded[DENSE]
        for name in part.cardinalities:
            arrays[name][start:end] = encoded[name]
        return end

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: at for at, name in enumerate(self.encoder.dense_columns)}


def _encoded(encoder: EncoderModel, block: Block, rows: np.ndarray | None) -> Mapping[str, np.ndarray]:
    first = block[encoder.features[0].name]
    if isinstance(first, Words) and len(encoder.features) == 1:
        codes = first.codes if rows is None else first.codes[rows]
        return {
            name: values[codes] for name, values in encoder.encode({encoder.features[0].name: first.distinct}).items()
        }
    return encoder.encode({one.name: _plain(block[one.name], rows) for one in encoder.features})


def _plain(values: np.ndarray | Words, rows: np.ndarray | None) -> np.ndarray:
    whole = values.values if isinstance(values, Words) else values
    return whole if rows is None else np.asarray(whole[rows])
