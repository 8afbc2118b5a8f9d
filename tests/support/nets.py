"""Small torch modules that other processes can import."""

import os
import random
import signal

import numpy as np
import torch


class Linear(torch.nn.Module):
    """Logits of the dense inputs."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(columns, 1)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(x["dense"]).squeeze(-1)


class Raising(Linear):
    """Raises in the second process."""

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        if os.environ.get("RANK") == "1":
            raise ValueError("no answer today")
        return super().forward(x)


class Dying(Linear):
    """Is killed in the second process."""

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        if os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


class Noisy(Linear):
    """Adds numbers of Python, numpy and torch to its inputs while it is trained."""

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        noise = random.random() + np.random.random() + torch.rand(1)
        return super().forward({"dense": x["dense"] + noise})
