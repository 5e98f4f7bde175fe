"""Contract 8: event loops and threads."""

import asyncio
import gc
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import Worker, this_loop, timers


def test_each_loop_has_its_own_results(worker: Worker, another: Worker) -> None:
    function: Any = alru_cache(maxsize=2)(this_loop)
    for _ in range(3):
        assert worker.run(function(1)) is worker.loop
        assert another.run(function(1)) is another.loop
    assert function.cache_info() == (4, 2, 2, 2)
    for x in 2, 3:  # maxsize applies to each
        worker.run(function(x))
    assert function.cache_contains(1)
    assert function.cache_info().currsize == 3
    worker.run(function(1))
    assert another.run(function(1)) is another.loop
    assert function.cache_info() == (5, 5, 2, 3)


@pytest.mark.parametrize("ttl", [None, 1000])
def test_clear_reaches_every_loop(worker: Worker, another: Worker, ttl: Any) -> None:
    function: Any = alru_cache(ttl=ttl)(this_loop)
    for place in worker, another:
        place.run(function(1))
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    assert not function.cache_contains(1)
    for place in worker, another:
        assert place.call(lambda: timers(asyncio.get_running_loop())) == []
        place.run(function(1))
    assert function.cache_info() == (0, 2, 128, 2)
    function.cache_clear()


@pytest.mark.parametrize("ttl", [None, 1000])
def test_invalidate_reaches_every_loop(worker: Worker, another: Worker, ttl: Any) -> None:
    function: Any = alru_cache(ttl=ttl)(this_loop)
    for place in worker, another:
        place.run(function(1))
        place.run(function(2))
    assert function.cache_invalidate(1)
    assert not function.cache_invalidate(1)
    for place in worker, another:
        assert len(place.call(lambda: timers(asyncio.get_running_loop()))) == (ttl is not None)
    assert function.cache_info() == (0, 4, 128, 2)
    function.cache_clear()


def test_a_drop_counts_before_the_other_loop_gets_to_it(worker: Worker) -> None:
    function: Any = alru_cache(this_loop)
    for x in 1, 2, 3, 4:
        worker.run(function(x))
    busy, free = threading.Event(), threading.Event()

    async def call_again() -> Any:
        busy.set()
        free.wait(5)  # the loop is blocked: word from other threads waits
        info = function.cache_info()
        await function(1)
        await function(1)
        return info, function.cache_info()

    job = worker.start(call_again())
    busy.wait(5)
    assert function.cache_invalidate(1)
    assert not function.cache_contains(1)
    assert not function.cache_invalidate(1)
    assert function.cache_info() == (0, 4, 128, 3)
    free.set()
    assert job.result(5) == ((0, 4, 128, 3), (1, 5, 128, 4))


def test_a_key_that_meddles_when_compared(worker: Worker) -> None:
    class Key:
        def __hash__(self) -> int:
            return 0

        def __eq__(self, other: object) -> bool:
            if others:
                function.cache_invalidate(others.pop())
            return isinstance(other, Key)

    function: Any = alru_cache(this_loop)
    worker.run(function(Key()))
    others = [1, 2, 3, 4]
    for x in others:
        worker.run(function(x))
    busy, free = threading.Event(), threading.Event()

    async def block() -> None:
        busy.set()
        free.wait(5)

    job = worker.start(block())
    busy.wait(5)
    assert function.cache_invalidate(Key())
    while others:
        function.cache_info()
    assert function.cache_info() == (0, 5, 128, 0)
    free.set()
    job.result(5)
    assert function.cache_info() == (0, 5, 128, 0)


def test_pending_work_dropped_from_another_thread_is_not_stored(worker: Worker) -> None:
    release: List[Any] = []

    async def wait() -> str:
        release.append(asyncio.Event())
        await release[-1].wait()
        return "x"

    function: Any = alru_cache(ttl=1000)(wait)
    job = worker.start(function())
    while not release:
        time.sleep(0.001)
    busy, free = threading.Event(), threading.Event()

    def let_go() -> None:
        release[-1].set()
        busy.set()
        free.wait(5)

    worker.loop.call_soon_threadsafe(let_go)
    busy.wait(5)
    assert function.cache_invalidate()
    free.set()
    assert job.result(5) == "x"
    assert not function.cache_contains()
    assert worker.call(lambda: timers(asyncio.get_running_loop())) == []
    assert function.cache_info() == (0, 1, 128, 0)


def test_an_invalidation_while_the_value_is_put_in_the_cache(worker: Worker) -> None:
    found: List[bool] = []

    class Key:
        armed = False

        def __hash__(self) -> int:
            if Key.armed:  # when the value is there, to find the entry that it is for
                Key.armed = False
                other = threading.Thread(
                    target=lambda: found.append(cached.cache_invalidate(self))
                )
                other.start()
                other.join()
            return 1

    async def work(key: Key) -> str:
        Key.armed = True
        return "x"

    # As the key itself: a tuple of it knows its hash, since 3.14.
    cached: Any = alru_cache(key=lambda key: key)(work)
    key = Key()
    assert worker.run(cached(key)) == "x"
    assert found == [True]
    assert not cached.cache_contains(key)


def test_tasks_are_counted_over_all_loops(worker: Worker, another: Worker) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    function: Any = alru_cache(wait)
    jobs = [place.start(function()) for place in (worker, another)]
    while function.cache_parameters()["tasks"] < 2:
        time.sleep(0.001)
    for job in jobs:
        job.cancel()
    while function.cache_parameters()["tasks"]:
        time.sleep(0.001)


def test_an_unhashable_argument_binds_to_no_loop() -> None:
    function: Any = alru_cache(this_loop)
    asyncio.run(function(1))

    async def main() -> None:
        with pytest.raises(TypeError, match="unhashable"):
            await function([])

    asyncio.run(main())  # had it bound, the other loop's entries would be gone, with a warning
    assert function.cache_info() == (0, 1, 128, 1)


@pytest.mark.parametrize("ttl", [None, 1000])
async def test_a_call_lets_go_of_what_another_thread_has_dropped(ttl: Any) -> None:
    class Thing:
        """Something that can be weakly referenced."""

    async def thing(_: int) -> Thing:
        return Thing()

    function: Any = alru_cache(ttl=ttl)(thing)
    reference = weakref.ref(await function(1))
    await function(2)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(function.cache_invalidate, 1).result(5)
    assert reference() is not None  # that is for this thread to do
    await function(2)
    assert reference() is None
    await function.cache_close()


def test_works_without_a_running_loop() -> None:
    function: Any = alru_cache(ttl=1000)(this_loop)
    assert function.cache_info() == (0, 0, 128, 0)
    assert not function.cache_contains(1)
    assert not function.cache_invalidate(1)
    function.cache_clear()
    loop = asyncio.new_event_loop()
    for x in 1, 2:
        loop.run_until_complete(function(x))
    assert function.cache_invalidate(1)
    assert len(timers(loop)) == 1
    assert function.cache_contains(2)
    function.cache_clear()
    assert timers(loop) == []
    for x in range(5):
        loop.run_until_complete(function(x))
    loop.close()
    for x in range(5):
        assert function.cache_invalidate(x)
    assert function.cache_info() == (0, 5, 128, 0)


@pytest.mark.parametrize("there", [False, True])
def test_a_stopped_loop_of_another_thread_is_left_to_it(there: bool) -> None:
    function: Any = alru_cache(ttl=1000)(this_loop)
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:

        def elsewhere(call: Callable[..., Any], *args: Any) -> Any:
            return pool.submit(call, *args).result(5)

        def here(call: Callable[..., Any], *args: Any) -> Any:
            return call(*args)

        its, other = (elsewhere, here) if there else (here, elsewhere)
        its(loop.run_until_complete, function(1))
        assert other(function.cache_invalidate, 1)
        other(function.cache_clear)
        assert function.cache_info() == (0, 0, 128, 0)
        assert len(timers(loop)) == 1  # it is not for this thread to touch
        its(loop.run_until_complete, asyncio.sleep(0))
        assert timers(loop) == []
    loop.close()


def test_a_closed_loop_of_another_thread() -> None:
    function: Any = alru_cache(this_loop)

    def use() -> None:
        asyncio.run(function(1))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(use).result(5)
    assert function.cache_contains(1)
    assert function.cache_invalidate(1)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)


def test_a_closed_loop_is_let_go_with_one_warning() -> None:
    function: Any = alru_cache(this_loop)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(function(1))
    loop.run_until_complete(function(1))
    reference = weakref.ref(loop)
    loop.close()
    del loop
    assert function.cache_info() == (1, 1, 128, 1)

    async def main() -> Any:
        return await function(2)

    with pytest.warns(AlruCacheLoopResetWarning, match="this_loop") as caught:
        asyncio.run(main())
    assert [warning.filename for warning in caught] == [__file__]
    gc.collect()
    assert reference() is None
    assert function.cache_info() == (0, 1, 128, 1)
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("always")
        asyncio.run(main())
    assert [w for w in again if w.category is AlruCacheLoopResetWarning] == []


def test_the_warning_points_at_whoever_runs_the_loop() -> None:
    function: Any = alru_cache(this_loop)
    asyncio.run(function(1))
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(function(1))
    assert [warning.filename for warning in caught] == [__file__]


def test_no_warning_where_nothing_is_lost() -> None:
    function: Any = alru_cache(this_loop)
    asyncio.run(function(1))
    function.cache_clear()
    asyncio.run(function(1))  # warnings are errors here


def test_the_warning_as_an_error_leaves_a_working_cache() -> None:
    function: Any = alru_cache(this_loop)
    asyncio.run(function(1))

    async def main() -> None:
        with pytest.raises(AlruCacheLoopResetWarning):
            await function(1)
        await function(1)
        await function(1)

    asyncio.run(main())
    assert function.cache_info() == (1, 1, 128, 1)


def test_a_loop_with_open_results_is_kept(worker: Worker) -> None:
    function: Any = alru_cache(this_loop)
    worker.run(function(1))
    for _ in range(3):
        asyncio.run(function(1))
        function.cache_clear()
        worker.run(function(1))
    assert function.cache_info() == (0, 1, 128, 1)


async def test_no_loop_no_call() -> None:
    function: Any = alru_cache(this_loop)
    await function(1)

    def outside() -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            function(1).send(None)

    thread = threading.Thread(target=outside)
    thread.start()
    thread.join()
    assert function.cache_info() == (0, 1, 128, 1)
