"""How much of a prediction log there may be."""

from dataclasses import dataclass

from fti_assets.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class LogLimits:
    """How much of a log there may be.

    Args:
        waiting_rows: in memory, until they are written.
        file_bytes: in a file; a longer one is closed.
        file_seconds: between a file's first line and its end, after which it can be taken in.
        total_bytes: in the files of one model that have not been taken in.
    """

    waiting_rows: int = 20_000
    file_bytes: int = 16 * 2**20
    file_seconds: float = 60.0
    total_bytes: int = 2**30

    def __post_init__(self) -> None:
        for name in ("waiting_rows", "file_bytes", "file_seconds", "total_bytes"):
            if not getattr(self, name) > 0:
                raise DeclarationError(
                    f"{name} of a prediction log is {getattr(self, name)!r}: more than 0 is expected"
                )
