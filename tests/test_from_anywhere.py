"""Contract 8: ``cache_*`` works in any thread, in signal handlers and in finalizers."""

import asyncio
import itertools
import os
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List

import pytest

from async_lru import alru_cache

from .helpers import (
    FREE_THREADED,
    LIMIT,
    PYPY,
    ClockLoop,
    Decorate,
    Thing,
    Worker,
    collect,
    forever,
    identity,
    in_thread,
    objects,
    on_clock,
    run_program,
    this_loop,
    timers,
    turns,
)

# Other threads


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


def test_an_invalidation_counts_before_its_loop_takes_a_step(worker: Worker) -> None:
    function: Any = alru_cache(this_loop)
    for x in 1, 2, 3, 4:
        worker.run(function(x))
    with worker.blocked():
        assert function.cache_invalidate(1)
        assert not function.cache_contains(1)
        assert not function.cache_invalidate(1)
        assert function.cache_info() == (0, 4, 128, 3)
    for _ in range(2):
        worker.run(function(1))
    assert function.cache_info() == (1, 5, 128, 4)


@pytest.mark.parametrize("ttl", [None, 1000])
async def test_a_call_releases_what_another_thread_has_invalidated(
    cached: Decorate, ttl: Any
) -> None:
    async def thing(_: int) -> Thing:
        return Thing()

    function = cached(thing, ttl=ttl)
    reference = weakref.ref(await function(1))
    await function(2)
    assert in_thread(function.cache_invalidate, 1)
    assert reference() is not None  # only the loop's own thread releases it
    await function(2)
    collect()
    assert reference() is None


def test_what_another_thread_clears_is_released_in_the_thread_of_its_loop(
    worker: Worker,
) -> None:
    threads: List[Any] = []

    class Last:
        def __del__(self) -> None:
            threads.append(threading.current_thread())

    async def work() -> Any:
        return Last()

    function: Any = alru_cache(work)

    async def fill() -> None:
        await function()

    worker.run(fill())
    with worker.blocked():
        function.cache_clear()
        collect()
        assert threads == []
    worker.run(turns())
    collect()
    assert threads == [worker.thread] or PYPY


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


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_loop_that_does_not_run_applies_records_when_it_runs(elsewhere: bool) -> None:
    function: Any = alru_cache(ttl=1000)(this_loop)
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:

        def in_pool(call: Callable[..., Any], *args: Any) -> Any:
            return pool.submit(call, *args).result(LIMIT)

        def here(call: Callable[..., Any], *args: Any) -> Any:
            return call(*args)

        its, other = (in_pool, here) if elsewhere else (here, in_pool)
        its(loop.run_until_complete, function(1))
        assert other(function.cache_invalidate, 1)
        other(function.cache_clear)
        assert function.cache_info() == (0, 0, 128, 0)
        its(loop.run_until_complete, asyncio.sleep(0))
        assert timers(loop) == []
    loop.close()


def test_a_closed_loop_of_another_thread() -> None:
    function: Any = alru_cache(this_loop)
    in_thread(lambda: asyncio.run(function(1)))
    assert function.cache_contains(1)
    assert function.cache_invalidate(1)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)


Loop: Any = asyncio.SelectorEventLoop


class Watchful(Loop):  # type: ignore[misc]
    """Records what other threads do to it, other than by ``call_soon_threadsafe``."""

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


@pytest.mark.parametrize("how", ["invalidate", "clear", "look", "let go"])
def test_another_running_loop_is_touched_only_as_it_may_be(how: str) -> None:
    async def work(x: int) -> int:
        if x == 1:
            await forever()
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
        in_thread(meddle[how])
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


# Finalizers, signal handlers, and the methods of keys


class Equal:
    """An object that is equal to all others of its class."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 0


class Meddler(Equal):
    """Uses the cache that has just released it."""

    def __init__(self, function: Any, sizes: List[int]) -> None:
        self.function = function
        self.sizes = sizes

    def __del__(self) -> None:
        assert not self.function.cache_contains(self)
        self.function.cache_invalidate("other")
        assert not self.function.cache_contains("other")
        self.sizes.append(self.function.cache_info().currsize)


@pytest.mark.parametrize("is_key", [False, True])
@pytest.mark.parametrize(
    ("how", "ttl"),
    [("expire", 10), *itertools.product(["evict", "invalidate", "clear"], [None, 10])],
)
@on_clock
async def test_a_finalizer_may_use_the_cache(
    clock: ClockLoop, timed: Decorate, ttl: Any, is_key: bool, how: str
) -> None:
    sizes: List[int] = []

    async def work(x: Any) -> Any:
        return Meddler(function, sizes) if x == Equal() and not is_key else None

    function = timed(work, maxsize=2, ttl=ttl)
    await function(Meddler(function, sizes) if is_key else Equal())
    clock.now += 1
    await function("other")
    assert function.cache_info().currsize == 2
    assert sizes == []
    if how == "evict":
        await function("one more")
    elif how == "invalidate":
        assert function.cache_invalidate(Equal())
    elif how == "clear":
        function.cache_clear()
    else:
        clock.now += 9
    await turns()
    collect()
    assert sizes == [int(how == "evict")]  # of "one more"
    await function("other")
    assert function.cache_contains("other")


class Finalized:
    """Does something when it is freed."""

    def __init__(self, does: Callable[[], object]) -> None:
        self.does = does

    def __del__(self) -> None:
        self.does()


def step(call: Any) -> List[Any]:
    """Take the first step of a call; its result, if it has one by then."""
    try:
        call.send(None)
    except StopIteration as end:
        return [end.value]
    call.close()
    return []


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_a_finalizer_finds_nothing_that_is_invalidated_too(cached: Decorate) -> None:
    found: List[Any] = []
    fetched: List[str] = []

    def look() -> None:
        found.append([get.cache_contains("b"), *step(get("b"))])

    async def fetch(x: str) -> Any:
        fetched.append(x)
        return Finalized(look) if x == "a" else len(fetched)

    get: Any = cached(fetch)
    await get("a")
    old = await get("b")
    get.cache_invalidate("a")
    get.cache_invalidate("b")
    await turns()
    assert len(found) == 1
    assert found[0][0] is False
    assert old not in found[0][1:]


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
@on_clock
async def test_a_finalizer_that_calls_with_the_same_key(
    clock: ClockLoop, timed: Decorate
) -> None:
    """It joins the call that has released the expired result."""
    fetched: List[int] = []

    async def fetch() -> Any:
        fetched.append(1)
        await asyncio.sleep(0)
        return Finalized(lambda: step(get())) if len(fetched) == 1 else None

    get: Any = timed(fetch, ttl=10)
    await get()
    clock.now += 10  # the timer has yet to run
    await get()
    assert len(fetched) == 2


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_a_finalizer_that_invalidates_what_replaces_it(cached: Decorate) -> None:
    """Then nothing is left of it, whatever its place among the results that expire."""

    async def fetch() -> Any:
        return Finalized(get.cache_invalidate)

    get: Any = cached(fetch, ttl=LIMIT, refresh=0)
    counts: List[int] = []
    for _ in range(2):
        for _ in range(500):
            await get()
            await get()
            await turns()
        counts.append(objects())
    assert counts[1] < counts[0] + 300


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
def test_a_clear_that_finds_a_loop_idle_which_then_runs() -> None:
    """It leaves the loop's new cache to the loop's thread."""
    stands, goes_on = threading.Event(), threading.Event()
    released: List[Any] = []
    events: List[asyncio.Event] = []

    class Hooked(asyncio.SelectorEventLoop):
        def is_running(self) -> bool:
            running = super().is_running()
            if threading.current_thread() is other:
                stands.set()
                assert goes_on.wait(LIMIT)
            return running

    @alru_cache(ttl=LIMIT, refresh=0)
    async def fetch(x: int) -> Any:
        if x == 1 and events:
            await events[0].wait()
        return Finalized(lambda: released.append((x, threading.current_thread())))

    async def begin_refresh() -> None:
        await fetch(1)
        events.append(asyncio.Event())
        await fetch(1)
        await turns()

    async def use() -> None:
        await fetch(2)
        fetch.cache_invalidate(2)
        goes_on.set()
        other.join()
        assert 2 not in [x for x, _ in released]
        assert FREE_THREADED or released == [(1, other)]  # the loop has no use for it any more
        await turns()
        assert (2, threading.current_thread()) in released
        assert FREE_THREADED or len(released) == 2
        fetch.cache_clear()
        events[0].set()
        await turns()

    other = threading.Thread(target=fetch.cache_clear)
    loop = Hooked()
    loop.run_until_complete(begin_refresh())
    other.start()
    assert stands.wait(LIMIT)
    try:
        loop.run_until_complete(use())
    finally:
        goes_on.set()
        other.join()
        loop.close()


@pytest.mark.parametrize("how", ["cache_clear", "cache_invalidate"])
async def test_a_signal_handler_may_use_the_cache(cached: Decorate, how: str) -> None:
    """The handler runs while a call compares keys."""

    class Key(Equal):
        armed = True

        def __eq__(self, other: object) -> bool:
            if self.armed:
                signal.raise_signal(signal.SIGINT)
            return super().__eq__(other)

        __hash__ = Equal.__hash__

    def handle(*_: Any) -> None:
        Key.armed = False
        getattr(function, how)(*(Key(),) * (how == "cache_invalidate"))

    function = cached(identity)
    before = signal.signal(signal.SIGINT, handle)
    try:
        for _ in range(3):
            assert await function(Key()) == Key()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not Key.armed
    assert function.cache_info().currsize == 1
    assert function.cache_info().misses == (1 if how == "cache_clear" else 2)


async def test_a_key_that_raises_when_compared_makes_nobody_hang(cached: Decorate) -> None:
    """Even if it raises during a step of the library's own."""

    class Fickle(Equal):
        failing = False

        def __eq__(self, other: object) -> bool:
            if Fickle.failing:
                raise ValueError("fickle")
            return super().__eq__(other)

        __hash__ = Equal.__hash__

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    gate = asyncio.Event()

    async def work(_: object) -> None:
        await gate.wait()

    function = cached(work)
    caller = asyncio.ensure_future(function(Fickle()))
    await turns()
    function.cache_invalidate(Fickle())
    other = asyncio.ensure_future(function(Fickle()))
    await turns()
    Fickle.failing = True
    gate.set()
    await asyncio.wait([caller, other])
    Fickle.failing = False
    function.cache_clear()
    assert function.cache_parameters()["tasks"] == 0


# Child processes


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
