"""Contract 8: event loops and threads."""

import asyncio
import functools
import gc
import inspect
import itertools
import os
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, Callable, List, Tuple
from unittest import mock

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import (
    FREE_THREADED,
    PYPY,
    Decorate,
    Worker,
    collect,
    run_program,
    this_loop,
    timers,
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
    for _ in range(5):  # whatever compares it
        assert not function.cache_contains(Key())
        function.cache_info()
    assert function.cache_info() == (0, 5, 128, len(others))
    free.set()
    job.result(5)
    left = len(others)
    others.clear()
    assert function.cache_info() == (0, 5, 128, left)
    for x in 1, 2, 3, 4:
        function.cache_invalidate(x)
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
    collect()
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
    loop.run_until_complete(turns())
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

    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(main())
    assert [warning.filename for warning in caught] == [__file__]
    assert str(caught[0].message) == (
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


def decorated(name: str) -> Any:
    class Loops:
        @alru_cache
        async def shared(self) -> Any:
            return asyncio.get_running_loop()

        @alru_cache(per_instance=True)
        async def own(self) -> Any:
            return asyncio.get_running_loop()

    if name in ("shared", "own"):
        return getattr(Loops(), name)
    function = functools.partial(this_loop, 1) if name == "partial" else this_loop
    return alru_cache(function)


def place_of_warning(function: Any, main: Callable[[], Any]) -> Tuple[str, int]:
    """What the warning points at when ``main`` calls a function in a new loop."""
    asyncio.run(function())
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(main())
    [warning] = caught
    return warning.filename, warning.lineno


@pytest.mark.parametrize("name", ["function", "shared", "own"])
def test_the_warning_points_at_the_line_that_awaits(name: str) -> None:
    function = decorated(name)

    async def main() -> None:
        await asyncio.sleep(0)
        await function()

    line = main.__code__.co_firstlineno + 2
    assert place_of_warning(function, main) == (__file__, line)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there wait_for makes a task")
def test_the_warning_points_past_what_asyncio_awaits() -> None:
    function = decorated("function")

    async def main() -> None:
        await asyncio.wait_for(function(), 60)

    line = main.__code__.co_firstlineno + 1
    assert place_of_warning(function, main) == (__file__, line)


@pytest.mark.parametrize("name", ["function", "partial", "shared", "own"])
@pytest.mark.parametrize("how", ["run", "create_task", "uvloop"])
def test_the_warning_of_a_task_points_at_the_function(name: str, how: str) -> None:
    function = decorated(name)
    code = getattr(inspect.unwrap(function), "__code__", this_loop.__code__)

    async def main() -> None:
        await asyncio.create_task(function())

    async def in_uvloop() -> None:
        loop = pytest.importorskip("uvloop").new_event_loop()
        await asyncio.get_running_loop().run_in_executor(
            None, loop.run_until_complete, function()
        )
        loop.close()

    mains = {"run": function, "create_task": main, "uvloop": in_uvloop}
    place = place_of_warning(function, mains[how])
    assert place == (code.co_filename, code.co_firstlineno)


def test_the_warning_of_a_function_without_a_line() -> None:
    function: Any = alru_cache(mock.AsyncMock(__name__="mocked"))
    place_of_warning(function, function)  # it is issued


def test_no_warning_where_nothing_is_lost() -> None:
    function: Any = alru_cache(this_loop)
    asyncio.run(function(1))
    function.cache_clear()
    asyncio.run(function(1))  # warnings are errors here


@pytest.mark.parametrize("per_instance", [False, True])
def test_no_warning_where_a_new_loop_only_closes(per_instance: bool) -> None:
    """Neither by closing nor by looking; the next call of another loop warns."""

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
    """Not by a loop that has called before, nor by looking."""
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


Loop: Any = asyncio.SelectorEventLoop


class Watchful(Loop):  # type: ignore[misc]
    """Notes down what other threads do to it, past ``call_soon_threadsafe``."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = threading.get_ident()
        self.touched: List[str] = []

    def note(self, what: str) -> None:
        if threading.get_ident() != self.owner:
            self.touched.append(what)

    def call_soon(self, *args: Any, **kwargs: Any) -> Any:
        self.note("call_soon")
        return super().call_soon(*args, **kwargs)

    def call_at(self, *args: Any, **kwargs: Any) -> Any:
        self.note("call_at")
        return super().call_at(*args, **kwargs)

    def create_task(self, *args: Any, **kwargs: Any) -> Any:
        self.note("create_task")
        return super().create_task(*args, **kwargs)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        self.note("a timer is cancelled")
        super()._timer_handle_cancelled(handle)


def in_another_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(10)


@pytest.mark.parametrize("how", ["invalidate", "clear", "look", "let go"])
def test_another_running_loop_is_touched_only_as_it_may_be(how: str) -> None:
    async def work(x: int) -> int:
        if x == 1:
            await asyncio.Event().wait()
        return x

    function: Any = alru_cache(ttl=1000)(work)
    callers: List[Any] = []

    meddle: Any = {
        "invalidate": lambda: [function.cache_invalidate(x) for x in range(4)],
        "clear": function.cache_clear,
        "look": lambda: (
            function.cache_info(),
            function.cache_parameters(),
            function.cache_contains(1),
        ),
        "let go": lambda: callers.pop().close(),
    }

    async def main() -> None:
        for x in 0, 2:
            await function(x)
        callers.append(function(1))
        callers[0].send(None)
        await turns()
        in_another_thread(meddle[how])
        assert loop.touched == []
        await turns()
        assert loop.touched == []
        assert len(timers(loop)) == (how in ("look", "let go"))
        assert function.cache_parameters()["tasks"] == (how != "let go")
        await function.cache_close()

    loop = Watchful()
    loop.run_until_complete(main())
    if callers:
        callers.pop().close()
    loop.close()


class Gated:
    """A key whose comparison, or whose end, takes until the test says."""

    def __init__(self) -> None:
        self.armed = ""
        self.busy, self.free = threading.Event(), threading.Event()

    def pause(self, where: str) -> None:
        if self.armed == where:
            self.armed = ""
            self.busy.set()
            assert self.free.wait(10)

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        self.pause("eq")
        return isinstance(other, (Gated, LikeGated))

    def __del__(self) -> None:
        self.pause("del")


class LikeGated:
    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Gated, LikeGated))


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("eq", "contains"),
        ("eq", "invalidate"),
        ("eq", "call"),
        ("del", "invalidate"),
        ("del", "clear"),
    ],
)
@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
def test_no_lock_is_held_where_a_key_takes_its_time(
    worker: Worker, where: str, step: str
) -> None:
    if where == "del" and FREE_THREADED:
        pytest.skip("any thread may be the one in which the key ends")
    function: Any = alru_cache(this_loop)
    key = Gated()
    busy, free = key.busy, key.free
    loop = asyncio.new_event_loop()
    loop.run_until_complete(function(key))
    worker.run(function(1))
    key.armed = where
    del key
    like = LikeGated()

    def slow() -> None:
        if step == "contains":
            function.cache_contains(like)
        elif step == "clear":
            function.cache_clear()
            loop.run_until_complete(turns())
        elif step == "invalidate":
            function.cache_invalidate(like)
            loop.run_until_complete(turns())
        else:
            loop.run_until_complete(function(like))
        if PYPY:
            collect()
        busy.set()  # where nothing was compared, or ended

    slow_thread = threading.Thread(target=slow)
    slow_thread.start()
    try:
        assert busy.wait(10)

        def others() -> None:
            function.cache_info()
            function.cache_parameters()
            function.cache_contains(1)
            function.cache_invalidate(2)
            asyncio.run(asyncio.wait_for(function(3), 5))
            worker.run(function(1))
            function.cache_invalidate(1)
            function.cache_clear()

        in_another_thread(others)
    finally:
        free.set()
        slow_thread.join()
    loop.run_until_complete(turns())
    loop.close()


@pytest.mark.parametrize("step", ["invalidate", "clear", "evict", "fail", "cancel"])
async def test_a_key_that_cannot_be_compared_does_not_stop_the_cache(
    cached: Decorate, step: str
) -> None:
    class Fickle:
        failing = False

        def __hash__(self) -> int:
            return hash("fickle")

        def __eq__(self, other: object) -> bool:
            if Fickle.failing:
                raise ValueError("fickle")
            return isinstance(other, Fickle)

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    gate = asyncio.Event()

    async def work(x: object) -> object:
        if isinstance(x, Fickle) and step in ("fail", "cancel"):
            await gate.wait()
            raise OSError
        return x

    function = cached(work, maxsize=2, ttl=1000)
    caller = asyncio.ensure_future(function(Fickle()))
    steps: Any = {"clear": function.cache_clear, "cancel": caller.cancel}
    await turns()
    if step == "invalidate":
        function.cache_invalidate(Fickle())
    Fickle.failing = True
    steps.get(step, gate.set)()
    gate.set()
    await turns()
    for x in 1, 2, 3, 3:
        assert await function(x) == x
    Fickle.failing = False
    await asyncio.wait([caller], timeout=1)
    assert caller.cancelled() or caller.exception() or caller.result()
    assert function.cache_info().currsize <= 2
    for x in 4, 5:
        assert await function(x) == x
    hits = function.cache_info().hits
    assert await function(5) == 5
    assert function.cache_info().hits == hits + 1
    assert function.cache_parameters()["tasks"] == 0


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


def test_a_dropped_loop_is_let_go_when_another_calls_that_is_known() -> None:
    function: Any = alru_cache(asyncio.sleep)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    for loop in first, second, first:
        loop.run_until_complete(function(0))
    dropped = weakref.ref(first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's
        del first, loop
        second.run_until_complete(function(0))
        gc.collect()  # a loop is a cycle
        collect()
    assert dropped() is None
    assert function.cache_info() == (1, 1, 128, 1)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    second.close()


def here(step: Callable[[], Any]) -> None:
    step()


def elsewhere(step: Callable[[], Any]) -> None:
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("running", [False, True])
def test_a_child_process_after_a_fork(running: bool) -> None:
    result = run_program(f"""
        import asyncio, os, warnings
        from async_lru import alru_cache

        @alru_cache(ttl=1000)
        async def function(x): return x

        def fork():
            pid = os.fork()
            if pid:
                return os.waitpid(pid, 0)[1]
            try:
                if {running}:
                    assert function.cache_contains(1)
                    function.cache_invalidate(1)
                    asyncio.events._set_running_loop(None)
                assert not function.cache_contains(2)
                function.cache_clear()
                warnings.simplefilter("ignore")
                assert asyncio.run(child()) == [1, 1, 2]
                assert function.cache_info()[:2] == (1, 2)
            except BaseException as error:
                print(repr(error), flush=True)
            finally:
                os._exit(0)

        async def child():
            found = [await function(1), await function(1), await function(2)]
            await function.cache_close()
            return found

        async def main():
            assert await function(1) == 1
            if {running}:
                fork()
                assert await function(1) == 1
                assert function.cache_info()[:2] == (1, 1)
                await function.cache_close()

        asyncio.run(main())
        if not {running}:
            fork()
    """)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


class Last:
    """Does something as it goes."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()


def test_what_another_thread_clears_goes_in_the_thread_of_its_loop(worker: Worker) -> None:
    threads: List[Any] = []
    busy, cleared = threading.Event(), threading.Event()

    async def work() -> Any:
        return Last(lambda: threads.append(threading.current_thread()))

    function: Any = alru_cache(work)

    async def fill() -> None:
        await function()

    worker.run(fill())
    blocked = worker.start(_block(busy, cleared))
    busy.wait(10)
    function.cache_clear()
    collect()
    assert threads == []
    cleared.set()
    blocked.result(10)
    worker.run(turns())
    collect()
    assert threads == [worker.thread] or PYPY


@pytest.mark.skipif(PYPY, reason="setdefault looks twice there")
@pytest.mark.parametrize("use", range(8))
def test_of_two_that_invalidate_one_has_had_an_effect(worker: Worker, use: int) -> None:
    """Also if one comes amid the other."""
    if PYPY and use == 3:
        pytest.skip("amid setdefault() of an empty dict, which is two steps there")
    function: Any = alru_cache(this_loop)
    uses = 0
    effects: List[bool] = []

    class Key:
        def __hash__(self) -> int:
            nonlocal uses
            uses += 1
            if uses == use + 1:
                effects.append(function.cache_invalidate(self))
            return 1

    key = Key()
    uses = 100
    worker.run(function(key))
    entered, left = threading.Event(), threading.Event()
    blocked = worker.start(_block(entered, left))
    entered.wait(10)
    uses = 0
    effects.append(function.cache_invalidate(key))
    assert effects.count(True) == 1
    uses = 100
    left.set()
    blocked.result(10)


async def _block(entered: threading.Event, left: threading.Event) -> None:
    entered.set()
    left.wait(10)


def test_a_caller_that_outlives_its_loop() -> None:
    """Nobody has closed the loop; it goes, and the call with it."""

    async def forever() -> None:
        await asyncio.Event().wait()

    function: Any = alru_cache(forever)
    callers: List[Any] = []

    async def begin() -> None:
        callers.append(function())
        callers[-1].send(None)
        await turns()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    assert function.cache_parameters()["tasks"] == 1
    loop.close()
    del loop
    callers.clear()
    gc.collect()
    assert function.cache_parameters()["tasks"] == 0


def test_a_call_that_outlives_its_loop_is_run_no_more() -> None:
    ended: List[int] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    function: Any = alru_cache(forever)
    kept: List[Any] = []

    async def begin() -> None:
        caller = function()
        caller.send(None)
        await turns()
        kept.extend([caller, asyncio.all_tasks() - {asyncio.current_task()}])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    caller, calls = kept
    caller.close()  # the last one
    assert function.cache_parameters()["tasks"] == 0
    assert len(calls) == 1
    assert ended == []
    del caller, calls
    kept.clear()
    function.cache_clear()
    gc.collect()
    assert ended == [1]


class Meddling:
    """A key that has another step taken in the middle of its comparison."""

    step: Any = staticmethod(lambda: None)

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        self.step()
        return self is other


@pytest.mark.parametrize("moment", range(8))
def test_records_are_applied_while_another_is_left(worker: Worker, moment: int) -> None:
    """The record that is being left is not lost with those that are applied."""
    runs: List[Any] = []

    async def work(key: Any) -> None:
        runs.append(key)

    function: Any = alru_cache(work)
    keys = [Meddling(), Meddling()]
    for key in keys:
        worker.run(function(key))
    assert function.cache_invalidate(keys[0])
    comparisons = itertools.count()

    def meddle() -> None:
        if next(comparisons) == moment:
            worker.run(function("another"))

    Meddling.step = staticmethod(meddle)
    try:
        assert function.cache_invalidate(keys[1])
    finally:
        Meddling.step = staticmethod(lambda: None)
    runs.clear()
    for key in keys:
        worker.run(function(key))
    assert runs == keys
    worker.run(function.cache_close())


@pytest.mark.skipif(find_spec("trio_asyncio") is None, reason="it is not installed")
@pytest.mark.parametrize("first", ["async_lru", "trio_asyncio"])
def test_trio_asyncio_imported_before_or_after(first: str) -> None:
    """It replaces functions of asyncio, such as get_running_loop()."""
    done = run_program(
        f"import {first}",
        """
        import asyncio, trio, trio_asyncio
        from async_lru import alru_cache

        @alru_cache(ttl=60)
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x

        class Client:
            @alru_cache(per_instance=True)
            async def get(self, x):
                return await double(x)

        async def main():
            print(await asyncio.gather(double(1), double(1), Client().get(2), Client().get(2)))
            print(await double(1), tuple(double.cache_info()))
            await double.cache_close()
            print(double.cache_parameters()["closed"])

        async def in_trio():
            async with trio_asyncio.open_loop():
                await trio_asyncio.aio_as_trio(main)()

        trio.run(in_trio)
        """,
        dev=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["[2, 2, 4, 4]", "2 (3, 2, 128, 2)", "True"],
    ), done.stderr
