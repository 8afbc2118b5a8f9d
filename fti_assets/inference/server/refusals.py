"""What a client is answered that asks for what cannot be done."""

from fti_assets.errors import PredictionError


class RefusedError(PredictionError):
    """A request that is answered with an error.

    Args:
        status: the HTTP status, such as 404.
        message: one sentence for the client.
        retry_after: in how many seconds to try again, for a 503.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
