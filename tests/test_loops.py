"""Contract 8: each event loop has its own cache; closed and dropped loops are let go."""

import asyncio
import gc
import warnings
import weakref
from typing import Any

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import (
    Thing,
    Worker,
    collect,
    forever,
    identity,
    in_thread,
    run_program,
    this_loop,
    turns,
)


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


def test_tasks_are_counted_over_all_loops(worker: Worker, another: Worker) -> None:
    function: Any = alru_cache(forever)
    jobs = [place.start(function()) for place in (worker, another)]
    for job, place, left in zip(jobs, (worker, another), (1, 0)):
        another.run(turns())
        place.run(turns())
        assert function.cache_parameters()["tasks"] == left + 1
        job.cancel()
        place.run(turns())
        assert function.cache_parameters()["tasks"] == left


def test_an_unhashable_argument_binds_to_no_loop() -> None:
    function: Any = alru_cache(this_loop)
    asyncio.run(function(1))

    async def main() -> None:
        with pytest.raises(TypeError, match="unhashable"):
            await function([])

    asyncio.run(main())  # else the other loop's entries would be dropped, with a warning
    assert function.cache_info() == (0, 1, 128, 1)


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

    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(main())
    [warning] = [each for each in caught if each.category is AlruCacheLoopResetWarning]
    assert warning.filename == __file__
    assert str(warning.message) == (
        "alru_cache detected event loop change: this_loop was called in a new event loop, and"
        " its results for a closed event loop were dropped. This is harmless in tests."
    )
    gc.collect()
    collect()
    assert reference() is None
    assert function.cache_info() == (0, 1, 128, 1)
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("always", AlruCacheLoopResetWarning)
        asyncio.run(main())
    assert [w for w in again if w.category is AlruCacheLoopResetWarning] == []


def test_no_warning_where_nothing_is_lost() -> None:
    function: Any = alru_cache(this_loop)
    asyncio.run(function(1))
    function.cache_clear()
    asyncio.run(function(1))  # warnings are errors here


@pytest.mark.parametrize("per_instance", [False, True])
def test_no_warning_where_a_new_loop_only_closes(per_instance: bool) -> None:
    """Closing and looking are no calls; the next call in another loop warns."""

    class Box:
        @alru_cache(per_instance=per_instance)
        async def method(self, x: int) -> int:
            return x

    box: Any = Box()

    async def shut_down() -> None:
        box.method.cache_contains(1)
        box.method.cache_invalidate(2)
        await Box.method.cache_close()
        await box.method.cache_close()
        assert box.method.cache_parameters()["closed"]
        assert box.method.cache_info() == (0, 1, 128, 1)

    asyncio.run(box.method(1))
    asyncio.run(shut_down())  # warnings are errors here
    assert box.method.cache_contains(1)
    with pytest.warns(AlruCacheLoopResetWarning):
        asyncio.run(box.method(1))
    assert box.method.cache_info() == (0, 1, 128, 1)


def test_no_warning_where_it_had_been_closed() -> None:
    function: Any = alru_cache(this_loop)

    async def main() -> None:
        await function(1)
        await function.cache_close()

    asyncio.run(main())
    assert function.cache_info() == (0, 1, 128, 1)
    asyncio.run(function(2))  # warnings are errors here
    assert function.cache_info() == (0, 1, 128, 1)


def test_a_closed_loop_is_discarded_only_by_a_new_one(worker: Worker) -> None:
    """Neither by a loop that has called before, nor by looking."""
    function: Any = alru_cache(this_loop)
    worker.run(function(1))
    asyncio.run(this_loop())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(function(2))
    worker.run(function(1))
    function.cache_invalidate(3)
    assert function.cache_contains(2)
    assert function.cache_info() == (1, 2, 128, 2)


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


@pytest.mark.parametrize("is_closed", [False, True])
def test_loops_in_which_it_is_only_closed_are_let_go(is_closed: bool) -> None:
    function: Any = alru_cache(identity)

    def close_in_a_new_loop() -> Any:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(function.cache_close())
        if is_closed:
            loop.close()
        return weakref.ref(loop)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's
        loops = [close_in_a_new_loop() for _ in range(4)]
        gc.collect()  # a loop is a cycle
        collect()
        assert [loop() is None for loop in loops] == [True, True, True, False]
        assert function.cache_parameters()["closed"]
        loops[-1]().close()


def test_a_dropped_loop_is_let_go_when_a_running_one_calls_after_a_clear(
    worker: Worker,
) -> None:
    function: Any = alru_cache(identity)
    worker.run(function(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's
        loop = asyncio.new_event_loop()
        loop.run_until_complete(function(1))
        dropped = weakref.ref(loop)
        del loop
        function.cache_clear()
        worker.run(function(1))
        gc.collect()  # a loop is a cycle
        collect()
    assert dropped() is None


def test_a_loop_that_is_about_to_be_closed_is_not_forgotten(worker: Worker) -> None:
    """``asyncio.run()`` closes it, a moment after it has run."""
    function: Any = alru_cache(identity)
    worker.run(function(2))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(function(1))
    worker.call(lambda: function.cache_invalidate(2))
    worker.run(function(2))
    loop.close()
    del loop
    gc.collect()  # a loop is a cycle
    collect()
    assert function.cache_info().currsize == 2
    with pytest.warns(AlruCacheLoopResetWarning):
        asyncio.run(function(1))


def test_a_dropped_loop_is_let_go_when_another_calls_that_is_known() -> None:
    async def make(key: int) -> Thing:
        return Thing()

    function: Any = alru_cache(make)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    results = [
        weakref.ref(loop.run_until_complete(function(0))) for loop in (first, second, first)
    ]
    dropped = weakref.ref(first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's
        del first
        second.run_until_complete(function(0))
        gc.collect()  # a loop is a cycle
        collect()
    assert dropped() is None
    assert [result() is None for result in results] == [True, False, True]
    assert function.cache_info() == (1, 1, 128, 1)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    second.close()


async def test_no_loop_no_call() -> None:
    function: Any = alru_cache(this_loop)
    await function(1)

    def outside() -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            function(1).send(None)

    in_thread(outside)
    assert function.cache_info() == (0, 1, 128, 1)


def test_a_new_loop_drops_what_is_kept_for_loops_that_are_gone() -> None:
    class Dropped(asyncio.SelectorEventLoop):
        def __del__(self) -> None:
            self.close()

    function: Any = alru_cache(identity)
    for number in range(4):
        loop = Dropped()
        loop.run_until_complete(function(number))
        del loop
        gc.collect()
        collect()
    assert function.cache_info() == (0, 1, 128, 1)
    function.cache_clear()


def test_loops_that_nobody_closed_are_not_kept() -> None:
    result = run_program(
        """
        import asyncio, gc, logging, os, sys, threading, warnings, weakref
        from async_lru import AlruCacheLoopResetWarning, alru_cache
        logging.disable(logging.CRITICAL)
        # A free-threaded build may collect the sockets of a loop before the loop.
        sys.unraisablehook = lambda _: None
        warnings.simplefilter("ignore")

        @alru_cache(maxsize=4)
        async def function(x): return bytearray(1000)

        loops = []

        def use():
            loop = asyncio.new_event_loop()
            loops.append(weakref.ref(loop))
            loop.run_until_complete(function(1))

        def run(target):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

        def alive():
            for _ in range(3):
                gc.collect()
            return sum(loop() is not None for loop in loops)

        def descriptors():
            return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

        before = descriptors()
        for _ in range(20):
            run(use)
        assert alive() <= 1, alive()  # the loop used last may be kept
        assert descriptors() - before <= 3, (before, descriptors())
        assert function.cache_info()[:2] == (0, alive())
        warnings.simplefilter("error", AlruCacheLoopResetWarning)
        asyncio.run(function(1))  # without a warning: none was closed
        assert alive() == 0
        """,
        dev=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_closed_loop_is_let_go_by_a_new_one_only() -> None:
    """Not by a loop that has called before, and calls again after a clear."""
    function: Any = alru_cache(this_loop)
    old, closed = asyncio.new_event_loop(), asyncio.new_event_loop()
    old.run_until_complete(function(1))
    function.cache_clear()
    closed.run_until_complete(function(1))
    closed.close()
    old.run_until_complete(function(1))
    assert function.cache_info() == (0, 2, 128, 2)
    old.close()
