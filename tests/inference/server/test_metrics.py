"""What the server counts is what prometheus_client would count one by one."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from fti_assets.inference.server.endpoints.endpoint import Stages
from fti_assets.inference.server.metrics import _SECONDS, Metrics

TIMES = st.lists(st.one_of(st.sampled_from(_SECONDS), st.floats(0, 20)), max_size=30)


@given(TIMES)
def test_times_counted_together_are_those_counted_one_by_one(times):
    metrics, registry = Metrics(), CollectorRegistry()
    floor = Histogram("fti_request_seconds", "Seconds", ["model", "stage"], buckets=_SECONDS, registry=registry)
    for seconds in times:
        metrics.count("net", 200, read=0.0, stages=Stages(seconds, 0.0), total=0.0)
        floor.labels("net", "lookup").observe(seconds)
    expected = _samples(generate_latest(registry))
    counted = {name: value for name, value in _samples(metrics.text()).items() if 'stage="lookup"' in name}
    assert counted.keys() == expected.keys()
    for name, value in expected.items():
        assert abs(counted[name] - value) < 1e-9, name


def test_values_are_counted_before_they_fill_the_memory():
    metrics = Metrics()
    for _ in range(10_500):
        metrics.count("net", 200, read=0.0, stages=None, total=0.001)
    assert max(len(getattr(one, "_values", ())) for one in metrics._pending) < 1_000
    text = metrics.text().decode()
    assert 'fti_request_seconds_count{model="net",stage="total"} 10500.0' in text
    assert 'fti_requests_total{model="net",status="200"} 10500.0' in text
    assert text == metrics.text().decode()  # nothing is counted twice


def _samples(text: bytes) -> dict[str, float]:
    pattern = re.compile(rb"^(fti_request_seconds_(?:bucket|count|sum)\{.*?\}) (\S+)$", re.MULTILINE)
    return {name.decode(): float(value) for name, value in pattern.findall(text)}


def test_requests_in_flight_are_those_of_now():
    metrics = Metrics()
    metrics.note_in_flight(3)
    assert "fti_requests_in_flight 3.0" in metrics.text().decode()
    metrics.note_in_flight(0)
    assert "fti_requests_in_flight 0.0" in metrics.text().decode()
