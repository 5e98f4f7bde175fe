"""Several event loops in several threads on one function, as fast as they can."""

import asyncio
import random
import sys
import sysconfig
import threading
from typing import Any, List, Tuple

import pytest

from async_lru import alru_cache

THREADS = 4
CALLS = 500
Result = Tuple[asyncio.AbstractEventLoop, int]


async def this_loop(key: int) -> Result:
    await asyncio.sleep(0)
    return asyncio.get_running_loop(), key


def in_threads(*mains: Any) -> None:
    """Run each in a thread with a loop of its own; raise what any of them raised."""
    errors: List[BaseException] = []
    ready = threading.Barrier(len(mains))

    def run(main: Any) -> None:
        ready.wait(10)
        try:
            asyncio.run(main)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=[main]) for main in mains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not any(thread.is_alive() for thread in threads)
    for error in errors:
        raise error


@pytest.mark.parametrize("options", [{}, {"ttl": 0.001}, {"ttl": 100, "typed": True}])
def test_everything_at_once(switching: None, options: Any) -> None:
    function: Any = alru_cache(maxsize=8, **options)(this_loop)

    async def main(seed: int) -> None:
        chance = random.Random(seed)
        loop = asyncio.get_running_loop()
        for _ in range(CALLS):
            keys = [chance.randrange(12) for _ in range(3)]
            results = await asyncio.gather(*[function(key) for key in keys])
            assert results == [(loop, key) for key in keys]
            what = chance.randrange(10)
            if what == 0:
                function.cache_clear()
            elif what < 4:
                function.cache_invalidate(keys[0])
            elif what < 6:
                info = function.cache_info()
                assert 0 <= info.currsize <= 8 * THREADS
                assert 0 <= info.hits + info.misses <= 3 * CALLS * THREADS
            elif what < 8:
                function.cache_contains(keys[1])
                assert function.cache_parameters()["tasks"] >= 0

    in_threads(*[main(seed) for seed in range(THREADS)])
    function.cache_clear()
    assert function.cache_info().currsize == 0


def test_each_keeps_its_hits(switching: None) -> None:
    function: Any = alru_cache(this_loop)
    done = threading.Barrier(THREADS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for n in range(CALLS):
            assert await function(n % 8) == (loop, n % 8)
        done.wait(50)  # so that no loop is closed while another is yet to begin

    in_threads(*[main() for _ in range(THREADS)])
    assert function.cache_info() == (THREADS * (CALLS - 8), THREADS * 8, 128, THREADS * 8)


def test_an_invalidation_is_never_lost(switching: None) -> None:
    """What is read after an invalidation was made after it."""
    version = 0

    async def read() -> int:
        return version

    function: Any = alru_cache(read)
    over = threading.Event()

    async def reader() -> None:
        last = 0
        while not over.is_set():
            known = version
            found = await function()
            assert found >= last
            assert found >= known - 1  # the one that is being written may be yet to come
            last = found
            await asyncio.sleep(0)

    async def writer() -> None:
        nonlocal version
        try:
            for n in range(1, 2000):
                version = n
                function.cache_invalidate()
                await asyncio.sleep(0)
        finally:
            over.set()

    in_threads(reader(), reader(), writer())


@pytest.mark.parametrize("wait", [False, True])
def test_closing_while_others_call(switching: None, wait: bool) -> None:
    for _ in range(20):
        function: Any = alru_cache(maxsize=4, ttl=100)(this_loop)

        async def caller(function: Any) -> None:
            for n in range(10_000):
                try:
                    await function(n % 6)
                except asyncio.CancelledError:  # noqa: PERF203  # its work was cancelled by the close
                    assert not wait
                except RuntimeError as error:
                    assert "closed" in str(error)  # noqa: PT017
                    break
            else:
                pytest.fail("was not closed")
            for _ in range(20):  # what other loops were told is done by then
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        async def closer(function: Any) -> None:
            await function(1)
            await function.cache_close(wait=wait)

        in_threads(caller(function), caller(function), closer(function))
        assert function.cache_parameters()["closed"]


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="not a free-threaded build"
)
def test_free_threaded_builds_stay_free() -> None:
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined,unused-ignore]
