"""The network: embeddings and dense features through two hidden layers."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl  # noqa: TID253 - this module is imported by the training step alone
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253


class DelayNet(pl.LightningModule):
    """Logits of a late arrival.

    Args:
        dense_dim: columns of ``dense``.
        cardinalities: categories of each Embedding feature.
        learning_rate: of Adam, at its highest: it rises to it and falls to nothing over the epochs.
        dropout: the share of each hidden layer's units that a training step leaves out.
    """

    def __init__(
        self, dense_dim: int, cardinalities: Mapping[str, int], learning_rate: float = 0.003, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        widths = {name: min(16, (size + 1) // 2) for name, size in cardinalities.items()}
        self.embeddings = nn.ModuleDict(
            {name: nn.Embedding(size, widths[name]) for name, size in cardinalities.items()}
        )
        self.layers = nn.Sequential(
            nn.Linear(dense_dim + sum(widths.values()), 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, 1),
        )

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        """Logits ``[n]`` from ``dense`` ``[n, dense_dim]`` and the codes ``[n, 1]`` of each Embedding feature."""
        embedded = [embedding(x[name]).squeeze(1) for name, embedding in self.embeddings.items()]
        logits: Tensor = self.layers(torch.cat([x["dense"], *embedded], dim=1)).squeeze(1)
        return logits

    def training_step(self, batch: tuple[dict[str, Tensor], Tensor], _: int) -> Tensor:
        x, y = batch
        return nn.functional.binary_cross_entropy_with_logits(self(x), y)

    def validation_step(self, batch: tuple[dict[str, Tensor], Tensor], _: int) -> None:
        x, y = batch
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(self(x), y), batch_size=len(y))

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
