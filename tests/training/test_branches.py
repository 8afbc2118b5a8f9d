"""A forward that asks for a value has no graph; one that asks for a shape, for a log or for an assertion has."""

import inspect

import numpy as np
import pytest

from fti_assets.errors import ExportError
from fti_assets.training.models.cores.branches import refuse_branches
from fti_assets.training.models.cores.networks import torch_core

torch = pytest.importorskip("torch")

SAMPLE = {"dense": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), "code": np.arange(8)[:, None] % 3}


class Net(torch.nn.Module):
    """With layers of torch's own for who needs them, and a forward of one line."""

    def __init__(self, answer):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.codes = torch.nn.Linear(4, 1), torch.nn.Embedding(3, 4)
        self.register_buffer("scale", torch.tensor(2.0))
        self.seen = []
        self.answer = answer

    def forward(self, x):
        return self.answer(self, x, self.linear(x["dense"]))


def if_first(net, x, z):
    if z[0] > 0.1:  # the line
        return z * 5
    return z


def if_item(net, x, z):
    return z * 5 if (z[0] > 0.1).item() else z  # the line


def if_mean(net, x, z):
    far = x["dense"].abs()
    return z + 1 if float(far.mean()) > 100 else z  # the line


def most(net, x, z):
    return z + max(z[0, 0], z[1 % len(z), 0])  # the line


def if_code(net, x, z):
    table = torch.zeros(8, 1)
    table[: len(x["code"])] = x["code"].float()
    return z.abs() if table.any() else z  # the line


def constant(net, x, z):
    return z / x["dense"].max().item()  # the line


def if_listed(net, x, z):
    return z * 5 if x["code"].flatten().tolist()[-1] > 0 else z  # the line


def if_equal(net, x, z):
    return z * 5 if torch.equal(z, z.abs()) else z  # the line


@pytest.mark.parametrize(
    "answer", [if_first, if_item, if_mean, most, if_code, constant, if_listed, if_equal], ids=lambda one: one.__name__
)
def test_a_branch_on_a_value_is_refused_with_its_line(answer):
    lines, start = inspect.getsourcelines(answer)
    line = start + next(at for at, text in enumerate(lines) if "# the line" in text)
    with pytest.raises(ExportError, match=rf"Net asks for a value in {answer.__name__}, .*:{line}: .*torch\.where"):
        refuse_branches(Net(answer).eval(), SAMPLE)


def on_shape(net, x, z):
    if x["dense"].shape[1] > 3 and len(z) > 1 and z.numel() > 3 and x["dense"].new_ones(1) > 0:
        return z * 2
    return z


def on_weights(net, x, z):
    return z * 2 if net.scale > 1 else z


def for_a_log(net, x, z):
    net.seen.append(z.mean().item())
    if z.abs().max() > 1e-3:
        net.seen.append(float(z.max()))
    return z


def with_an_assertion(net, x, z):
    assert not torch.isnan(z).any()
    if (x["code"] > 5).any():
        raise ValueError("a code that is none")
    return z


def where_there_is_a_mask(net, x, z):
    mask = x["code"] == 2
    if mask.any():
        z = torch.where(mask, z * 2, z)
    return z


def chosen_by_where(net, x, z):
    return torch.where(z > 0.1, z * 5, z)


def that_draws(net, x, z):
    return z + torch.rand(1) if z[0] > 0 else z - torch.rand(1)


@pytest.mark.parametrize(
    "answer",
    [on_shape, on_weights, for_a_log, with_an_assertion, where_there_is_a_mask, chosen_by_where, that_draws],
    ids=lambda one: one.__name__,
)
def test_what_changes_no_output_may_be_asked(answer):
    refuse_branches(Net(answer).eval(), SAMPLE)


def of_layer(layer, *, query_thrice=False):
    class Layered(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = layer, torch.nn.Linear(4, 1)

        def forward(self, x):
            rows = x["dense"].unsqueeze(1)
            given = [rows] * 3 if query_thrice else [rows]
            got = self.layer(*given)
            return self.out((got[0] if isinstance(got, tuple) else got).flatten(1))

    return Layered().eval()


@pytest.mark.parametrize(
    ("layer", "query_thrice"),
    [
        (lambda: torch.nn.LSTM(4, 4, batch_first=True), False),
        (lambda: torch.nn.GRU(4, 4, batch_first=True), False),
        (lambda: torch.nn.MultiheadAttention(4, 2, batch_first=True), True),
        (lambda: torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), False),
        (lambda: torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.LayerNorm(4), torch.nn.Dropout()), False),
    ],
)
def test_the_layers_of_torch_may_ask(layer, query_thrice):
    refuse_branches(of_layer(layer(), query_thrice=query_thrice), SAMPLE)


def test_an_embedding_of_masked_rows_by_a_lightning_module_may_ask():
    lightning = pytest.importorskip("pytorch_lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net(where_there_is_a_mask)

        def forward(self, x):
            return self.net(x)

    refuse_branches(Module().eval(), SAMPLE)


def test_a_module_with_a_branch_becomes_no_core():
    with pytest.raises(ExportError, match="if_first"):
        torch_core(Net(if_first), SAMPLE, "binary", 2)
