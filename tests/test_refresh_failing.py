"""Contract 10: a refresh that raises, is cancelled, or hangs."""

import asyncio
import gc
import weakref
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import (
    BOTH,
    NEVER,
    REFRESH,
    STAYS,
    TTL,
    ClockLoop,
    Decorate,
    Logged,
    Source,
    Thing,
    at_once,
    begin,
    collect,
    due,
    make_no_task,
    messages,
    on_clock,
    refreshing,
    settled,
    tasks_made_by,
    timers,
    turns,
)


@on_clock
async def test_eager_and_failed_at_once(
    clock: ClockLoop, timed: Decorate, logged: Logged, eager_somehow: Any
) -> None:
    clock.set_task_factory(eager_somehow)
    calls: List[int] = []

    async def once() -> str:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("down")
        return "old"

    function = timed(once, **BOTH)
    await function()
    clock.now += REFRESH
    assert at_once(function()) == "old"
    gc.collect()
    assert messages(logged) == [(STAYS, "ValueError('down')")]
    assert at_once(function()) == "old"
    assert len(calls) == 2
    assert function.cache_info() == (2, 1, 128, 1)


@on_clock
async def test_one_that_cannot_be_started(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    async def one(x: int) -> int:
        return x

    function = timed(one, **BOTH, key=lambda *_: 1)
    await function(1)
    clock.now += REFRESH
    before = function.cache_info(), function.cache_parameters()
    with pytest.raises(TypeError, match="argument"):
        await function(1, 2)
    assert (function.cache_info(), function.cache_parameters()) == before
    assert at_once(function(3)) == 1
    await turns()
    assert at_once(function(1)) == 3


@on_clock
async def test_one_for_which_there_is_no_task(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await due(source, clock, function)

    before = function.cache_info(), function.cache_parameters()
    with tasks_made_by(make_no_task), pytest.raises(OSError, match="no more tasks"):
        at_once(function())
    assert (function.cache_info(), function.cache_parameters()) == before
    assert at_once(function()) == "old"


@pytest.mark.parametrize("late", [True, False], ids=["timer late", "timer in time"])
@on_clock
async def test_joined_and_failed(
    clock: ClockLoop, source: Source, timed: Decorate, late: bool
) -> None:
    """The failure reaches the callers who wait, and is not logged."""
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH
    if not late:
        await turns()
    callers = await begin(*[function() for _ in range(2)])
    source.works[1].set_exception(ValueError("down"))
    for caller in callers:
        with pytest.raises(ValueError, match="down"):
            await caller
    assert not function.cache_contains()
    await settled(source, function(), "newer")
    assert function.cache_info() == (3, 2, 128, 1)


@on_clock
async def test_joined_and_cancelled_from_outside(clock: ClockLoop, timed: Decorate) -> None:
    tasks: List[Any] = []

    async def hang() -> str:
        tasks.append(asyncio.current_task())
        if len(tasks) > 1:
            await asyncio.Event().wait()
        return "old"

    function = timed(hang, **BOTH)
    await function()
    clock.now += REFRESH
    await function()
    clock.now += TTL - REFRESH
    callers = await begin(*[function() for _ in range(2)])
    tasks[1].cancel()
    await turns()
    assert all(caller.cancelled() for caller in callers)
    assert not function.cache_contains()


# It raises


@on_clock
async def test_a_failure_leaves_the_old_result_until_its_ttl(
    clock: ClockLoop, source: Source, timed: Decorate, logged: Logged
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += 10
    source.works[1].set_exception(ValueError("down"))
    source.works.pop(1)
    await turns()
    assert messages(logged) == [(STAYS, "ValueError('down')")]
    assert at_once(function()) == "old"
    clock.now += TTL - REFRESH - 10 - 1
    assert at_once(function()) == "old"
    await turns()
    assert len(source.calls) == 2
    clock.now += 1  # the ttl is not prolonged
    assert not function.cache_contains()
    await settled(source, function(), "new")
    assert function.cache_info() == (3, 2, 128, 1)


@on_clock
async def test_an_outage_does_not_turn_every_hit_into_an_attempt(
    clock: ClockLoop, source: Source, timed: Decorate, logged: Logged
) -> None:
    """The next refresh starts with the first call ``refresh`` seconds after the failure."""
    function = timed(ttl=1000, refresh=10, jitter=100)
    await settled(source, function(), "old")
    clock.now += 60  # 10, and half the jitter
    for attempt in range(1, 6):
        assert at_once(function()) == "old"
        await turns()
        assert len(source.calls) == attempt + 1
        clock.now += 3
        source.works[-1].set_exception(ValueError("down"))
        source.works.clear()
        await turns()
        assert messages(logged) == [(STAYS, "ValueError('down')")]
        for seconds in 5, 4.9:
            clock.now += seconds
            assert at_once(function()) == "old"
            await turns()
            assert len(source.calls) == attempt + 1
        clock.now += 0.1
    at_once(function())
    await turns()
    source.works[0].set_result("new")
    await turns()
    assert at_once(function()) == "new"
    assert function.cache_info() == (17, 1, 128, 1)


@on_clock
async def test_cancelled_from_outside_is_the_same_and_not_logged(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await due(source, clock, function)
    before = asyncio.all_tasks()
    at_once(function())
    (refresh,) = asyncio.all_tasks() - before
    refresh.cancel()  # before its first step
    await turns()
    assert len(source.calls) == 1
    assert function.cache_parameters()["tasks"] == 0
    assert at_once(function()) == "old"
    clock.now += TTL - REFRESH - 1
    assert at_once(function()) == "old"
    await turns()
    assert len(source.calls) == 1
    clock.now += 1
    assert not function.cache_contains()


@on_clock
async def test_cancelled_from_outside_during_its_work(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(ttl=1000, refresh=REFRESH)
    await due(source, clock, function)
    before = asyncio.all_tasks()
    at_once(function())
    (refresh,) = asyncio.all_tasks() - before
    await turns()
    clock.now += 10
    refresh.cancel()
    await turns()
    assert source.works[1].cancelled()
    clock.now += REFRESH - 1
    assert at_once(function()) == "old"
    await turns()
    assert len(source.calls) == 2
    clock.now += 1
    at_once(function())
    await turns()
    assert len(source.calls) == 3


@on_clock
async def test_with_refresh_zero_every_call_of_a_failing_source_tries_again(
    clock: ClockLoop, timed: Decorate, logged: Logged
) -> None:
    calls: List[int] = []

    async def failing() -> str:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("down")
        return "old"

    function = timed(failing, ttl=TTL, refresh=0)
    for n in range(1, 5):
        assert await function() == "old"
        await turns()
        assert len(calls) == n
    assert messages(logged) == [(STAYS, "ValueError('down')")] * 3


@on_clock
async def test_with_a_ttl_function_that_says_none_the_last_good_result_is_served(
    clock: ClockLoop, source: Source, timed: Decorate, logged: Logged
) -> None:
    function = timed(ttl=lambda _: None, refresh=REFRESH)
    await settled(source, function(), "old")
    for _ in range(20):
        clock.now += REFRESH
        assert at_once(function()) == "old"
        await turns()
        source.works[-1].set_exception(ValueError("down"))
        source.works.clear()
        await turns()
    assert messages(logged) == [(STAYS, "ValueError('down')")] * 20


@on_clock
async def test_what_a_ttl_function_raises_is_a_failure_of_the_refresh(
    clock: ClockLoop, source: Source, timed: Decorate, logged: Logged
) -> None:
    answers: List[Any] = [TTL, True]
    function = timed(ttl=lambda _: answers.pop(0), refresh=REFRESH)
    await refreshing(source, clock, function)
    source.works.pop(1).set_result("new")
    await turns()
    ((message, error),) = messages(logged)
    assert message == STAYS
    assert error.startswith("TypeError")
    assert at_once(function()) == "old"
    assert function.cache_info() == (2, 1, 128, 1)


@on_clock
async def test_a_failure_after_expiry_that_nobody_waits_for(
    clock: ClockLoop, source: Source, timed: Decorate, logged: Logged
) -> None:
    for late in True, False:
        source.works.clear()
        function = timed(**BOTH)
        await refreshing(source, clock, function)
        clock.now += TTL - REFRESH
        if not late:
            await turns()
        source.works[1].set_exception(ValueError("down"))
        source.works.clear()
        await turns()
        assert messages(logged) == [(NEVER, "ValueError('down')")]
        assert not function.cache_contains()
        assert function.cache_info().currsize == 0


@on_clock
async def test_a_failed_refresh_needs_no_collector(
    clock: ClockLoop, timed: Decorate, logged: Logged, no_collector: None
) -> None:
    things: List[Any] = []

    async def failing(first: bool) -> str:
        if first:
            return "old"
        mine = Thing()
        things.append(weakref.ref(mine))
        raise ValueError("down")

    function = timed(failing, **BOTH, key=lambda _: 1)
    await function(True)
    clock.now += REFRESH
    at_once(function(False))
    await turns()
    assert messages(logged) == [(STAYS, "ValueError('down')")]
    collect()
    assert things[0]() is None


@pytest.mark.parametrize("how", ["in a cycle", "eager"])
@on_clock
async def test_failures_of_other_kinds_need_none_either(
    clock: ClockLoop, how: str, request: pytest.FixtureRequest, no_collector: None
) -> None:
    if how == "eager":
        clock.set_task_factory(request.getfixturevalue("eager_somehow"))
    calls: List[int] = []
    gate = asyncio.Event()
    logged: Logged = []
    clock.set_exception_handler(lambda _, context: logged.append(context))

    async def fetch() -> str:
        calls.append(1)
        if len(calls) == 2:
            if how == "eager":
                raise ValueError("down")
            await gate.wait()
            await cached()
        return "old"

    cached: Any = alru_cache(ttl=TTL, refresh=REFRESH)(fetch)
    await cached()
    clock.now += REFRESH
    assert await cached() == "old"
    clock.now += TTL - REFRESH
    await turns()
    gate.set()
    await turns()
    if how == "eager":  # asyncio's frames that made the task are in a cycle with it
        gc.collect()
    found = messages(logged)
    assert [message for message, _ in found] == [STAYS if how == "eager" else NEVER]


# It hangs


@on_clock
async def test_a_refresh_that_hangs_does_not_delay_expiry(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    old = Thing()
    await settled(source, function(), old)
    gone = weakref.ref(old)
    del old
    source.works.clear()
    clock.now += REFRESH
    at_once(function())
    await turns()
    assert function.cache_contains()
    clock.now += TTL - REFRESH
    await turns()
    collect()
    assert gone() is None
    assert timers(clock) == []
    assert function.cache_contains()  # while the refresh runs
    assert function.cache_info() == (1, 1, 128, 1)
    # Callers join the refresh, and their timeouts end it.
    (caller,) = await begin(asyncio.wait_for(function(), 5))
    clock.now += 5
    await turns()
    with pytest.raises(asyncio.TimeoutError):
        await caller
    await turns()
    assert source.works[0].cancelled()
    assert not function.cache_contains()
    await settled(source, function(), "new")


@on_clock
async def test_one_that_nobody_asks_for_again_runs_on(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += 10 * TTL
    await turns()
    assert function.cache_parameters()["tasks"] == 1
    source.works[1].set_result("new")
    await turns()
    assert at_once(function()) == "new"
    assert function.cache_info() == (2, 1, 128, 1)


@on_clock
async def test_work_that_awaits_its_own_key_and_there_is_no_old_result(
    clock: ClockLoop, timed: Decorate, logged: Logged
) -> None:
    calls: List[int] = []
    gate = asyncio.Event()

    async def fetch() -> str:
        calls.append(1)
        if len(calls) == 2:
            await gate.wait()
            await cached()
        return "old"

    cached: Any = timed(fetch, **BOTH)
    await cached()
    clock.now += REFRESH
    assert await cached() == "old"
    clock.now += TTL - REFRESH
    await turns()
    gate.set()
    await turns()
    gc.collect()
    ((message, error),) = messages(logged)
    assert message == NEVER
    assert "RuntimeError" in error
    assert "would wait for its own result" in error
    assert not cached.cache_contains()
    assert cached.cache_info() == (1, 1, 128, 0)
