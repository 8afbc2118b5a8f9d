"""How a module is trained, and what a fit rests on besides its rows."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fti_assets.core.manifest import Task
from fti_assets.training.sources import installed, module_hash


@dataclass(frozen=True)
class Settings:
    """How a module is trained: what ``data.fit`` was called with.

    ``options`` are further arguments of Lightning's trainer.
    """

    task: Task
    epochs: int
    batch_size: int
    patience: int
    seed: int
    accelerator: str = "auto"
    precision: str | int = "32-true"
    devices: int = 1
    strategy: str = "auto"
    levels: tuple[float, ...] = ()
    classes: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


OWN = (
    "max_epochs",
    "logger",
    "enable_checkpointing",
    "enable_progress_bar",
    "enable_model_summary",
    "num_sanity_val_steps",
    "default_root_dir",
)
"""The arguments of Lightning's trainer that this library sets."""


def fingerprint(module: Any, settings: Settings) -> str:
    """What a fit rests on besides its rows, as hex digits: the module's code and first weights, the settings, and the libraries."""
    kind, callbacks = type(module), list(settings.options.get("callbacks", ()))
    source = module_hash(module, *map(type, callbacks))
    options = {name: value for name, value in settings.options.items() if name != "callbacks"}
    plain = replace(settings, options=options | {"callbacks": [type(one).__qualname__ for one in callbacks]})
    digest = hashlib.sha256(
        f"{kind.__module__}.{kind.__qualname__}\n{source}\n{module}\n{plain}\n{installed()}".encode()
    )
    for part in module.modules():  # such as a learning rate, which no printed module shows
        plainly = {name: value for name, value in vars(part).items() if isinstance(value, bool | int | float | str)}
        digest.update(f"{plainly} {dict(getattr(part, 'hparams', None) or {})}".encode())
    for name, values in module.state_dict().items():
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        if hasattr(values, "numpy"):
            digest.update(values.detach().cpu().contiguous().view(-1).float().numpy())
    return digest.hexdigest()[:16]
