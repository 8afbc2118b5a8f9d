"""One plain request that waits for nothing, answered where it has been read: without a task, and in one write.

A task, and the messages of ASGI to and fro, cost a third of what a small model does. Whatever is not the most frequent case goes the
usual way, through the application.
"""

import time
from collections.abc import Callable, Sequence

from fti_assets.inference.server.answering import Answering, Exchange
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor
from fti_assets.inference.server.messages.plain import plain_answer
from fti_assets.inference.server.messages.response import Response
from fti_assets.inference.server.messages.rest import read_json, write_json
from fti_assets.inference.server.reading import query_of, request_id
from fti_assets.inference.serving.answers.prediction import tell_all

PATH = b"/predict/"

Headers = Sequence[tuple[bytes, bytes]]


class DirectAnswers:
    """Answers plain requests to models whose store is embedded.

    Args:
        answering: what they share with all others.
        refuse: what a client is told of an error.
    """

    def __init__(self, answering: Answering, refuse: Callable[[Exception, Exchange], Response]) -> None:
        self._answering = answering
        self._refuse = refuse

    def answer(
        self, url: bytes, headers: Headers, body: bytes, client: str, start: float
    ) -> tuple[Response, str] | None:
        """The response to a POST and the id of the request; None for one that goes the usual way.

        Args:
            url: what stands in the request's line; it begins with ``PATH``.
            headers: with names in lower case.
            body: the whole.
            client: the client's address.
            start: when the headers had been read, in seconds of ``time.perf_counter``.
        """
        answering = self._answering
        fields = dict(headers)
        path, _, query_string = url.partition(b"?")
        try:
            name = path[len(PATH) :].decode()
            endpoint = answering.repository.get(name)
            # Whether a goal can be reached is told by how long tasks wait.
            if not isinstance(endpoint, ServedPredictor) or endpoint.latency_goal is not None:
                return None
            query = query_of(query_string) if query_string else {}
            request = read_json(body)
            if (
                request.__class__ is not dict
                or "requests" in request
                or b"content-encoding" in fields
                or (query and [*query] != ["at"])
            ):
                return None
            exchange = Exchange(
                request_id=request_id(fields),
                method="POST",
                path=path.decode(),
                client=client,
                headers=fields,
                start=start,
            )
            answering.check_token(exchange)
            answering.admit_to(exchange, name, endpoint)
        except Exception:  # the usual way says what is wrong
            return None
        try:
            exchange.read = time.perf_counter() - start
            predictions, stages = endpoint.predict([request], query["at"][-1] if query else None)
            [prediction] = predictions
            tell_all(prediction)
            response = Response(write_json(plain_answer(prediction, exchange.request_id)))
            answering.count(exchange, endpoint, prediction.build, 1, stages, predictions, [request])
        except Exception as error:
            response = self._refuse(error, exchange)
        finally:
            answering.release()
        answering.note(exchange, response.status)
        return response, exchange.request_id
