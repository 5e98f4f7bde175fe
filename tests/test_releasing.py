"""Contract 4: what is evicted, expired or dropped is released, and failures keep nothing."""

import asyncio
import contextlib
import contextvars
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import (
    LIMIT,
    PYPY,
    ClockLoop,
    Decorate,
    Thing,
    begin,
    collect,
    identity,
    objects,
    on_clock,
    turns,
)


class Instance:
    def __init__(self) -> None:
        self.tasks: List[Any] = []

    @alru_cache(ttl=1000, per_instance=True)
    async def get(self, x: int) -> Thing:
        self.tasks.append(asyncio.current_task())
        return Thing()


@pytest.mark.skipif(PYPY, reason="the collector takes the instance and what it kept at once")
async def test_an_ended_call_keeps_no_results_of_its_instance() -> None:
    instance = Instance()
    result = weakref.ref(await instance.get(1))
    await instance.get(2)
    task = instance.tasks[1]
    del instance
    await turns()
    collect()
    assert task.done()
    assert result() is None


async def test_a_call_keeps_no_results_of_an_instance_that_it_has_asked() -> None:
    results: List[Any] = []

    @alru_cache
    async def ask() -> None:
        instance = Instance()
        results.append(weakref.ref(await instance.get(1)))
        instance.tasks.clear()
        del instance
        await turns()
        collect()
        results.append(results[0]())

    await ask()
    assert results[1] is None


@pytest.mark.skipif(PYPY, reason="a frame keeps the exceptions that it has caught")
async def test_a_call_keeps_nothing_of_a_failed_one_that_it_has_awaited() -> None:
    ending = asyncio.get_running_loop().create_future()
    things: List[Any] = []

    @alru_cache
    async def fail() -> None:
        local = Thing()
        things.append(weakref.ref(local))
        await ending
        raise ValueError("no")

    @alru_cache
    async def ask() -> None:
        with contextlib.suppress(ValueError):
            await fail()
        await turns()
        collect()
        things.append(things[0]())

    (asking,) = await begin(ask())
    (other,) = await begin(fail())
    ending.set_result(None)
    ending.add_done_callback(lambda _: other.cancel())  # in the turn in which it fails
    await asyncio.wait([asking, other])
    await asking
    assert things[1] is None


async def test_an_exception_keeps_nothing_that_is_cleared() -> None:
    async def make(x: int) -> Thing:
        return Thing()

    @alru_cache
    async def cycle() -> None:
        await cycle()

    get: Any = alru_cache(ttl=1000, refresh=0, key=lambda *_: 1)(make)
    result = weakref.ref(await get(1))
    kept: List[BaseException] = []
    for wrong in (get(1, 2), cycle()):
        with pytest.raises((TypeError, RuntimeError)) as caught:
            await wrong
        kept.append(caught.value)
    get.cache_clear()
    await turns()
    collect()
    assert result() is None
    assert len(kept) == 2


@pytest.mark.parametrize("ttl", [None, 10])
@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("how", ["evict", "invalidate", "clear"])
async def test_what_is_dropped_is_released(
    cached: Decorate, ttl: Any, others: int, how: str
) -> None:
    if PYPY and how == "clear":
        pytest.skip("after a long run, PyPy's collector may take more than ten turns for it")
    function = cached(identity, maxsize=1 + others, ttl=ttl)
    thing = Thing()
    reference = weakref.ref(thing)
    await function(thing)
    for other in range(others):
        await function(other)
    if how == "invalidate":
        function.cache_invalidate(thing)
    elif how == "clear":
        function.cache_clear()
    del thing
    if how == "evict":
        collect()
        assert reference() is not None
        await function("one more")
    else:  # the loop runs: with its next turn
        await asyncio.sleep(0)
    collect()
    assert reference() is None


async def test_what_replaces_an_evicted_result_finds_it_released(cached: Decorate) -> None:
    """An evicted result is released before the run that takes its place has ended."""

    async def work(x: object) -> Any:
        if isinstance(x, Thing):
            return x
        await asyncio.sleep(0)
        collect()
        return reference() is None

    function = cached(work, maxsize=1)
    reference = weakref.ref(await function(Thing()))
    assert await function(1)


def test_what_is_dropped_when_the_loop_does_not_run_is_released_at_once() -> None:
    function: Any = alru_cache(ttl=1000)(identity)
    loop = asyncio.new_event_loop()
    for drop in function.cache_invalidate, lambda _: function.cache_clear():
        thing = Thing()
        reference = weakref.ref(thing)
        loop.run_until_complete(function(thing))
        drop(thing)
        del thing
        if drop == function.cache_invalidate:  # when the loop runs again
            loop.run_until_complete(asyncio.sleep(0))
        collect()
        assert reference() is None
    loop.close()


def test_what_is_dropped_of_an_idle_loop_of_another_thread() -> None:
    function: Any = alru_cache(identity)
    loop = asyncio.new_event_loop()
    things = [Thing(), Thing()]
    references = [weakref.ref(thing) for thing in things]
    with ThreadPoolExecutor(1) as pool:

        def elsewhere(coroutine: Any) -> None:
            # Without the result, which the thread would hold for a moment more.
            pool.submit(lambda: loop.run_until_complete(coroutine) and None).result(LIMIT)

        elsewhere(function(things[0]))
        elsewhere(function(things[1]))
        function.cache_invalidate(things.pop())
        elsewhere(asyncio.sleep(0))  # with its next turn
        collect()
        assert references[1]() is None
        things.clear()
        function.cache_clear()
        collect()
        assert references[0]() is None  # at once
    loop.close()


async def test_what_is_dropped_does_not_pile_up(cached: Decorate) -> None:
    function = cached(identity, ttl=10)
    counts: List[int] = []
    for first in 0, 1000:
        for x in range(first, first + 1000):
            await function(x)
            function.cache_invalidate(x)
        await turns()  # the loop lets go of the timers that were cancelled
        counts.append(objects())
    assert counts[1] < counts[0] + 300


@on_clock
async def test_what_expires_is_released(clock: ClockLoop, timed: Decorate) -> None:
    function = timed(identity, ttl=10)
    thing = Thing()
    reference = weakref.ref(thing)
    await function(thing)
    del thing
    clock.now += 10
    await turns()
    collect()
    assert reference() is None


@pytest.mark.parametrize("shared", [False, True])
async def test_a_failed_call_keeps_nothing_alive(
    cached: Decorate, shared: bool, no_collector: None
) -> None:
    async def fail(thing: Thing) -> None:
        await asyncio.sleep(0)
        raise ValueError(thing)

    function = cached(fail)
    thing = Thing()
    reference = weakref.ref(thing)
    callers = [asyncio.ensure_future(function(thing)) for _ in range(1 + shared)]
    del thing
    await asyncio.wait(callers)
    assert all(isinstance(caller.exception(), ValueError) for caller in callers)
    del callers
    await turns()
    collect()
    assert reference() is None


@pytest.mark.skipif(PYPY, reason="it does not close the coroutines that it collects")
async def test_a_failed_call_whose_caller_is_dropped_keeps_nothing_alive(
    cached: Decorate, no_collector: None
) -> None:
    """Even if another coroutine has started the caller."""

    async def fail(thing: Thing) -> None:
        await asyncio.sleep(0)
        raise ValueError

    function = cached(fail)

    async def start(thing: Thing) -> Any:
        caller = function(thing)
        caller.send(None)
        return caller

    thing = Thing()
    reference = weakref.ref(thing)
    loop = asyncio.get_running_loop()
    logged: List[Any] = []
    loop.set_exception_handler(lambda _, context: logged.append(context["exception"]))
    caller = await start(thing)
    await turns()
    assert function.cache_parameters()["tasks"] == 0
    del thing, caller
    await turns()
    collect()
    assert [type(failure) for failure in logged] == [ValueError]
    logged.clear()
    assert reference() is None


async def test_callers_context_is_not_kept_by_a_timer(cached: Decorate) -> None:
    variable: "contextvars.ContextVar[Any]" = contextvars.ContextVar("variable")
    function = cached(identity, ttl=10)

    async def caller() -> "weakref.ref[Thing]":
        thing = Thing()
        variable.set(thing)
        await function(1)
        return weakref.ref(thing)

    reference = await asyncio.ensure_future(caller())
    await turns()
    gc.collect()
    collect()
    assert reference() is None
    assert function.cache_contains(1)


# Found in the core of 3.1, before its release.


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
@pytest.mark.parametrize("how", ["failure", "clear"])
async def test_a_call_that_goes_on_keeps_nothing_of_what_it_awaited(how: str) -> None:
    references: List[Any] = []

    async def inner(thing: Thing) -> Thing:
        references.append(weakref.ref(thing))
        if how == "failure":
            raise ValueError
        return thing

    async def outer() -> bool:
        with contextlib.suppress(ValueError):
            await cached_inner(Thing())
        cached_inner.cache_clear()
        await turns()
        collect()
        return references[0]() is None

    cached_inner: Any = alru_cache(inner, ttl=1000)
    cached_outer: Any = alru_cache(outer)
    assert await cached_outer()


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_a_call_abandoned_before_its_first_step_leaves_no_cycle(
    no_collector: None,
) -> None:
    async def work(thing: Thing) -> None:
        await asyncio.Event().wait()

    function: Any = alru_cache(work)
    thing = Thing()
    reference = weakref.ref(thing)
    call = function(thing)
    del thing
    call.send(None)
    call.close()
    del call
    await turns()
    collect()
    assert reference() is None


@pytest.mark.parametrize(
    "kind",
    ["cycle", "ttl function", "ttl function at once", "before the first suspension"],
)
async def test_a_failure_needs_no_collector(kind: str, no_collector: None) -> None:
    def fail(_: Any) -> Any:
        raise ValueError

    async def cycle(thing: Thing) -> Any:
        return await failing(thing)

    async def suspend(thing: Thing) -> None:
        await asyncio.sleep(0)

    async def return_at_once(thing: Thing) -> Thing:
        return thing

    async def fail_at_once(thing: Thing) -> None:
        raise ValueError

    functions: Any = {
        "cycle": alru_cache(cycle),
        "ttl function": alru_cache(ttl=fail)(suspend),
        "ttl function at once": alru_cache(ttl=fail)(return_at_once),
        "before the first suspension": alru_cache(ttl=lambda _: 1)(fail_at_once),
    }
    failing: Any = functions[kind]
    thing = Thing()
    reference = weakref.ref(thing)
    outcome = asyncio.ensure_future(failing(thing))
    del thing
    await asyncio.wait([outcome])
    assert isinstance(outcome.exception(), (ValueError, RuntimeError))
    del outcome
    await turns()
    collect()
    assert reference() is None


@pytest.mark.parametrize("runs", [True, False])
def test_a_clear_releases_what_a_refresh_was_to_replace(runs: bool) -> None:
    results: List[Any] = []
    events: List[asyncio.Event] = []  # referenced here, so that their waiter is not collected

    async def fetch() -> Thing:
        if results:
            events.extend([asyncio.Event(), asyncio.Event()])
            with contextlib.suppress(asyncio.CancelledError):
                await events[0].wait()
            await events[1].wait()  # its cancellation takes a while
        return Thing()

    function: Any = alru_cache(ttl=LIMIT, refresh=0)(fetch)

    async def refresh() -> None:
        results.append(weakref.ref(await function()))
        await function()
        await turns()

    async def clear() -> None:
        function.cache_clear()
        await turns()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(refresh())
    if runs:
        loop.run_until_complete(clear())
    else:
        function.cache_clear()
    collect()
    assert results[0]() is None
    loop.run_until_complete(turns())
    assert function.cache_parameters()["tasks"] == 1
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(turns())
    loop.close()
