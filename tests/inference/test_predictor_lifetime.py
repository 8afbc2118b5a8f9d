import asyncio
import gc
import os
import resource
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from fti_assets.errors import PredictionError, RequestError, StoreError
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.inference.serving.served_build import ServedBuild
from fti_assets.stores.models.graphs.graph import Graph
from tests.inference import test_predictor
from tests.inference.test_predictor import HOUR, NOON, REQUEST, WEATHER

world = test_predictor.world


def open_files(folder) -> int:
    paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(path).startswith(os.path.realpath(folder)) for path in paths if os.path.exists(path))


def test_closed_predictor_answers_no_more_and_its_files_are_closed(world):
    with world.load() as predictor:
        assert predictor.predict(REQUEST, at=NOON).missing == ()
        assert open_files(world.online.root)
    gc.collect()
    assert not open_files(world.online.root)
    predictor.close()
    requests = [lambda: predictor.predict(REQUEST), lambda: predictor.features(REQUEST), predictor.follow]
    for ask in [*requests, lambda: asyncio.run(predictor.predict_async(REQUEST))]:
        with pytest.raises(PredictionError, match="the predictor of model 'delay_net' is closed: load it again"):
            ask()


@pytest.mark.parametrize("embedded", [True, False])
def test_predict_async_uses_threads_unless_the_store_is_embedded(world, monkeypatch, embedded):
    predictor = world.load()
    predictor._served.is_embedded = embedded
    threads = []
    plain = Predictor.predict

    def watched(self, *args, **options):
        threads.append(threading.current_thread())
        return plain(self, *args, **options)

    monkeypatch.setattr(Predictor, "predict", watched)
    answer = asyncio.run(predictor.predict_async(REQUEST, at=NOON))
    assert (threads[0] is threading.current_thread()) == embedded
    many = asyncio.run(predictor.predict_async([REQUEST] * 17, at=NOON))
    assert threads[1] is not threading.current_thread()
    assert answer == predictor.predict(REQUEST, at=NOON) == many[16]
    with pytest.raises(RequestError, match="is no"):
        asyncio.run(predictor.predict_async([REQUEST] * 17 + [{"tail": 1}], at=NOON))
    predictor.close()


def test_a_group_that_brings_nothing_can_be_an_error(world):
    view = world.view()
    stale = replace(WEATHER, ttl_us=3_600_000_000)
    joins = tuple(stale if one is WEATHER else one for one in view.joins)
    manifest = world.publish(3, view=replace(view, joins=joins))
    with world.load(build=manifest.reference, on_missing="error") as predictor:
        assert predictor.predict(REQUEST, at=NOON).missing == ()
        with pytest.raises(RequestError, match="weather_v1 brings a stale row for origin='JFK', 7200 s old"):
            predictor.predict(REQUEST, at=NOON + HOUR)
        with pytest.raises(RequestError, match="request 1: weather_v1 brings no row for origin='SFO'$"):
            predictor.predict([REQUEST, REQUEST | {"origin": "SFO"}], at=NOON)
    with pytest.raises(PredictionError, match="on_missing is 'drop': 'impute' or 'error' is expected"):
        world.load(on_missing="drop")


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("swaps", [20, pytest.param(1_000, marks=pytest.mark.soak)])
def test_swaps_leave_no_build_no_descriptor_and_no_memory(world, swaps):
    builds = [world.publish(token).reference for token in (2, 3)]
    aliases = world.models.aliases_file("delay_net")
    texts = [aliases.read_text().replace(world.load().build, reference) for reference in builds]
    other = aliases.with_name("other.json")

    def swap(times: int) -> tuple[int, int, int]:
        """The builds, descriptors and bytes that are there after so many swaps."""
        for number in range(times):
            other.write_text(texts[number % 2])
            os.replace(other, aliases)
            assert predictor.follow() == predictor.predict(REQUEST, at=NOON).build == builds[number % 2]
        gc.collect()
        alive = sum(issubclass(type(one), ServedBuild | Graph) for one in gc.get_objects())
        return alive, len(os.listdir("/proc/self/fd")), resident_bytes()

    with world.load() as predictor:
        before = swap(max(20, swaps // 4))  # the allocators settle
        after = swap(swaps)
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 4_000_000 + 8_000 * swaps  # a session alone takes ten times as much


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("is_read_in_main", [pytest.param(False, marks=pytest.mark.soak), True])
def test_a_thread_a_request_leaves_no_file_open(world, is_read_in_main):
    """Also while another thread reads the files, and though no cycles are collected."""
    others = [world.publish(number) for number in (2, 3)]
    gc.collect()
    gc.disable()
    try:
        with world.load() as predictor:
            if is_read_in_main:
                predictor.predict(REQUEST, at=NOON)
            answers, counts = [], []
            for i in range(30):
                if i % 10 == 5:
                    world.promote(others[i // 10 % 2])
                    predictor.follow()
                in_thread(lambda: answers.append(predictor.predict(REQUEST, at=NOON)))
                counts.append(open_files(world.online.root))
            assert len(answers) == 30
            assert len({answer.build for answer in answers}) == 3
            assert max(counts) == max(counts[:2])
    finally:
        gc.enable()


def test_a_process_without_descriptors_says_so(world):
    with world.load() as predictor:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(map(int, os.listdir("/proc/self/fd")))
        filled = [os.open(os.devnull, os.O_RDONLY) for _ in range(used + 1 - len(os.listdir("/proc/self/fd")))]
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, limits[1]))
        try:
            with pytest.raises(StoreError, match=r"cannot be opened: too many open files. Raise the limit") as raised:
                predictor.predict(REQUEST, at=NOON)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in filled:
                os.close(descriptor)
        assert "folder" not in str(raised.value)
        assert predictor.predict(REQUEST, at=NOON).missing == ()
