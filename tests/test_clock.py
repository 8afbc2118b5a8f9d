import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from fti_assets.core import clock
from fti_assets.errors import DeclarationError

NOON = datetime(2013, 6, 1, 12)


def test_now_is_naive_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FTI_NOW", raising=False)
    assert clock.now().tzinfo is None
    assert abs(clock.now() - datetime.now(UTC).replace(tzinfo=None)) < timedelta(seconds=5)


def test_a_block_sets_the_clock_and_gives_it_back() -> None:
    with clock.at("2013-06-01T08:00:00-04:00"):
        assert clock.now() == NOON
        with clock.at(NOON + timedelta(hours=1)):
            assert clock.now() == NOON + timedelta(hours=1)
        assert clock.now() == NOON
    assert clock.now().year > 2013


def test_the_clock_is_given_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), clock.at(NOON):
        raise RuntimeError
    assert clock.now().year > 2013


def test_the_environment_sets_the_clock_of_a_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "FTI_NOW", "2013-06-01T12:00:00Z")
    assert clock.now() == NOON
    with clock.at("2014-01-01"):
        assert clock.now() == datetime(2014, 1, 1)


def test_another_thread_keeps_its_own_clock() -> None:
    observed: list[datetime] = []
    with clock.at(NOON):
        thread = threading.Thread(target=lambda: observed.append(clock.now()))
        thread.start()
        thread.join()
    assert observed[0].year > 2013


@pytest.mark.parametrize("text", ["noon", "2013-13-01", "x" * 10_000])
def test_a_clock_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FTI_NOW", text)
    with pytest.raises(
        DeclarationError, match="FTI_NOW is .*, which is not an instant: write ISO text such as"
    ) as caught:
        clock.now()
    assert len(str(caught.value)) < 300
