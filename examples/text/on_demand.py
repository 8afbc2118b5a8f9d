"""The tokens of a report: a module that the app ships, with a file of the words that the encoder knows."""

from functools import cache

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

import fti_assets as fti

LENGTH, START, END = 24, 101, 102
WORDS = fti.shipped_text(
    "data/vocabulary.txt", sha256="0f052197aac305fe42f378b5c61554b7bacb34b8be4af83fec2cfdcdffbc9973"
)


@cache
def reader() -> Tokenizer:
    """BERT's own way to take a text apart, with the encoder's words."""
    words = {word: place for place, word in enumerate(WORDS.split("\n"))}
    own = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return own


@fti.on_demand(outputs={"tokens": fti.Vector(dim=LENGTH)}, requires=["tokenizers"])
def tokens(remarks: np.ndarray) -> dict[str, np.ndarray]:
    """The first pieces of words in a text by their number, between a start and an end; zeros behind. A missing text has zeros alone."""
    rows = np.zeros((len(remarks), LENGTH), dtype=np.float32)
    for row, text in zip(rows, remarks, strict=True):
        if not isinstance(text, str):
            continue
        pieces = [START, *reader().encode(text).ids[: LENGTH - 2], END]
        row[: len(pieces)] = pieces
    return {"tokens": rows}
