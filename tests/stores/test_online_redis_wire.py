"""Answers of a Redis server are read whole, however they come over the wire."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.stores.online.redis.wire import UnexpectedAnswerError, hmget, read_values
from tests.support.examples import examples

VALUES = st.lists(st.lists(st.none() | st.binary(max_size=9) | st.just(b"\r\n$-1\r\n*2"), max_size=3), max_size=4)
NULLS = [b"$-1\r\n", b"_\r\n"]


class Wire:
    """A socket on which pieces come, and then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def recv(self, most: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def written(answers: list[list[bytes | None]], null: bytes) -> bytes:
    return b"".join(
        b"*%d\r\n" % len(values)
        + b"".join(null if value is None else b"$%d\r\n%b\r\n" % (len(value), value) for value in values)
        for values in answers
    )


@given(answers=VALUES.filter(bool), null=st.sampled_from(NULLS), cuts=st.lists(st.integers(0, 99), max_size=6))
@settings(max_examples=examples(300))
def test_values_are_those_that_were_written_wherever_they_are_cut(answers, null, cuts) -> None:
    data = written(answers, null)
    bounds = sorted({0, len(data), *[min(cut, len(data)) for cut in cuts]})
    pieces = [data[start:end] for start, end in pairwise(bounds)]
    assert read_values(Wire(*pieces).recv, len(answers)) == answers


@given(answers=VALUES.filter(bool), left=st.integers(0, 99))
@example([[b""]], 1)
@settings(max_examples=examples(100))
def test_a_connection_that_ends_amid_an_answer_is_broken(answers, left) -> None:
    data = written(answers, NULLS[0])
    with pytest.raises(ConnectionError):
        read_values(Wire(data[: min(left, len(data) - 1)]).recv, len(answers))


@pytest.mark.parametrize(
    "other", [b"-NOAUTH\r\n", b">2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n:1\r\n:2\r\n", b"$1\r\na\r\n"]
)
def test_anything_but_values_is_unexpected(other) -> None:
    with pytest.raises(UnexpectedAnswerError):
        read_values(Wire(written([[b"a"]], NULLS[0]) + other).recv, 2)


def test_a_key_is_sent_with_its_length() -> None:
    assert hmget("é", b"\xff", b"a\r\n") == b"*4\r\n$5\r\nHMGET\r\n$2\r\n\xc3\xa9\r\n$1\r\n\xff\r\n$3\r\na\r\n\r\n"
    assert hmget("a", b"\xff", None) == b"*3\r\n$5\r\nHMGET\r\n$1\r\na\r\n$1\r\n\xff\r\n"
