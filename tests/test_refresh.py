"""Contract 10: refresh ahead of expiry."""

import asyncio
import contextvars
import gc
import weakref
from typing import Any, List, Tuple

import pytest

from .helpers import (
    BOTH,
    REFRESH,
    TTL,
    ClockLoop,
    Decorate,
    Source,
    Thing,
    at_once,
    begin,
    collect,
    due,
    on_clock,
    refreshing,
    settled,
    timers,
    turns,
)


@pytest.mark.parametrize("late", [False, True], ids=["timer in time", "timer late"])
@pytest.mark.parametrize("ttl", [50.0, REFRESH])
@on_clock
async def test_a_result_whose_own_ttl_is_not_above_refresh_just_expires(
    clock: ClockLoop, source: Source, timed: Decorate, ttl: float, late: bool
) -> None:
    function = timed(ttl=lambda _: ttl, refresh=REFRESH)
    await settled(source, function(), "old")
    clock.now += ttl - 1
    assert at_once(function()) == "old"
    await turns()
    assert len(source.works) == 1
    clock.now += 1
    if late:
        await settled(source, function(), "new")
        assert function.cache_info() == (1, 2, 128, 1)
    else:
        await turns()
        assert function.cache_info() == (1, 1, 128, 0)
        assert timers(clock) == []


@pytest.mark.parametrize("ttl", [float("inf"), lambda _: None, lambda _: float("inf")])
@on_clock
async def test_one_kept_for_ever_is_refreshed_too(
    clock: ClockLoop, source: Source, timed: Decorate, ttl: Any
) -> None:
    function = timed(ttl=ttl, refresh=REFRESH)
    await settled(source, function(), "old")
    assert timers(clock) == []
    clock.now += REFRESH - 1
    assert at_once(function()) == "old"
    await turns()
    assert len(source.works) == 1
    clock.now += 1000 * REFRESH
    assert at_once(function()) == "old"
    await turns()
    source.works[1].set_result("new")
    await turns()
    assert at_once(function()) == "new"
    assert timers(clock) == []


@on_clock
async def test_one_jitter_for_both(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    """The clock's first draw is 0.5, and its second 0.75."""
    function = timed(**BOTH, jitter=20)
    await settled(source, function(), "old")
    clock.now += REFRESH + 9
    assert at_once(function()) == "old"
    await turns()
    assert len(source.works) == 1
    clock.now += 1
    assert at_once(function()) == "old"
    await turns()
    assert len(source.works) == 2
    clock.now += TTL - REFRESH - 1  # the last second of the old result
    assert at_once(function()) == "old"
    source.works[1].set_result("new")
    await turns()
    clock.now += REFRESH + 14
    assert at_once(function()) == "new"
    await turns()
    assert len(source.works) == 2
    clock.now += 1
    assert at_once(function()) == "new"
    await turns()
    assert len(source.works) == 3
    clock.now += TTL - REFRESH
    await turns()
    assert not source.works[2].done()
    source.works[2].cancel()
    await turns()
    assert not function.cache_contains()


@on_clock
async def test_jitter_of_one_kept_for_ever(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(ttl=lambda _: None, refresh=REFRESH, jitter=20)
    await settled(source, function(), "old")
    clock.now += REFRESH + 9
    at_once(function())
    await turns()
    assert len(source.works) == 1
    clock.now += 1
    at_once(function())
    await turns()
    assert len(source.works) == 2


# Due


@on_clock
async def test_fresh_due_expired(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    """A result becomes due, and expires, at the exact moments."""
    function = timed(**BOTH)
    await settled(source, function(1), "old")
    clock.now += REFRESH - 0.001
    assert at_once(function(1)) == "old"
    await turns()
    assert source.calls == [(1,)]
    clock.now += 0.001
    assert at_once(function(1)) == "old"
    await turns()
    assert source.calls == [(1,)] * 2
    assert function.cache_info() == (2, 1, 128, 1)
    source.works[1].set_result("new")
    await turns()
    assert at_once(function(1)) == "new"
    clock.now += TTL  # the timer is late
    await settled(source, function(1), "newer")
    assert function.cache_info() == (3, 2, 128, 1)


@on_clock
async def test_never_served_past_ttl(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """Even if a refresh is running, and if the loop was blocked."""
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH - 0.001
    assert at_once(function()) == "old"
    clock.now += 0.001
    (caller,) = await begin(function())
    assert not caller.done()
    source.works[1].set_result("new")
    assert await caller == "new"


@on_clock
async def test_a_due_hit_is_the_most_recently_used(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH, maxsize=2)
    await settled(source, function(1), "old")
    await settled(source, function(2), "old")
    clock.now += REFRESH
    assert at_once(function(1)) == "old"
    await turns()
    source.works[-1].set_result("new")
    await turns()
    await settled(source, function(3), "x")
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]


@on_clock
async def test_a_refresh_leaves_recency_as_it_is(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH, maxsize=2)
    await settled(source, function(1), "old")
    await settled(source, function(2), "old")
    clock.now += REFRESH
    at_once(function(1))
    at_once(function(2))
    await turns()
    source.works[3].set_result("new")
    await turns()
    source.works[2].set_result("new")
    await turns()
    assert at_once(function(2)) == "new"
    at_once(function(1))
    await settled(source, function(3), "x")
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]


@on_clock
async def test_a_refresh_that_returns_does_not_touch(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH, maxsize=2)
    await settled(source, function(1), "old")
    clock.now += REFRESH
    at_once(function(1))
    await turns()
    await settled(source, function(2), "other")
    source.works[1].set_result("new")
    await turns()
    await settled(source, function(3), "x")
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [False, True, True]


@pytest.mark.parametrize("maxsize", [128, None])
@on_clock
async def test_one_refresh_at_a_time(
    clock: ClockLoop, source: Source, timed: Decorate, maxsize: Any
) -> None:
    function = timed(**BOTH, maxsize=maxsize)
    await due(source, clock, function)
    for _ in range(10):
        assert at_once(function()) == "old"
        await turns(1)
    await asyncio.gather(*[function() for _ in range(10)])
    assert len(source.works) == 2
    assert function.cache_parameters()["tasks"] == 1
    assert function.cache_info() == (20, 1, maxsize, 1)


@on_clock
async def test_the_refresh_has_the_arguments_of_the_call_that_starts_it(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH, key=lambda key, *_: key)
    await settled(source, function(1, "a"), "old")
    clock.now += REFRESH
    assert at_once(function(1, "b")) == "old"
    assert at_once(function(1, "c")) == "old"
    await turns()
    assert source.calls == [(1, "a"), (1, "b")]


@on_clock
async def test_its_task_its_context(clock: ClockLoop, timed: Decorate) -> None:
    variable: "contextvars.ContextVar[str]" = contextvars.ContextVar("variable", default="")
    seen: List[Tuple[Any, str]] = []

    async def function() -> None:
        seen.append((asyncio.current_task(), variable.get()))
        variable.set("changed by the function")

    cached = timed(function, **BOTH)
    variable.set("first")
    await cached()
    clock.now += REFRESH
    variable.set("second")
    await cached()
    variable.set("third")
    await turns()
    assert [context for _, context in seen] == ["first", "second"]
    assert variable.get() == "third"
    assert seen[1][0] not in (asyncio.current_task(), seen[0][0])


@on_clock
async def test_eager_and_returned_at_once(
    clock: ClockLoop, timed: Decorate, eager_somehow: Any
) -> None:
    """The call gets the old result, and the next one the new result, if that is kept."""
    clock.set_task_factory(eager_somehow)
    keep: List[float] = [TTL]
    calls: List[int] = []

    async def count() -> int:
        calls.append(1)
        return len(calls)

    function = timed(count, ttl=lambda _: keep[-1], refresh=REFRESH)
    assert await function() == 1
    clock.now += REFRESH
    assert at_once(function()) == 1
    assert at_once(function()) == 2
    clock.now += REFRESH
    keep.append(0)
    assert at_once(function()) == 2
    assert not function.cache_contains()
    assert function.cache_info() == (3, 1, 128, 0)


@on_clock
async def test_eager_and_suspended(
    clock: ClockLoop, source: Source, timed: Decorate, eager_somehow: Any
) -> None:
    clock.set_task_factory(eager_somehow)
    function = timed(**BOTH)
    await due(source, clock, function)
    assert at_once(function()) == "old"
    assert len(source.works) == 2
    source.works[1].set_result("new")
    await turns()
    assert at_once(function()) == "new"


# Expired


@on_clock
async def test_expired_and_joined(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH
    callers = await begin(*[function() for _ in range(2)])
    assert len(source.works) == 2
    assert function.cache_info() == (3, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 1
    source.works[1].set_result("new")
    assert await asyncio.gather(*callers) == ["new"] * 2
    assert at_once(function()) == "new"
    clock.now += REFRESH - 1
    at_once(function())
    await turns()
    assert len(source.works) == 2  # its age starts at 0 again


@on_clock
async def test_joined_and_cancelled_with_its_last_caller(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH
    callers = await begin(*[function() for _ in range(2)])
    callers[0].cancel()
    await turns()
    assert not source.works[1].done()
    callers[1].cancel()
    await turns()
    assert source.works[1].cancelled()
    assert not function.cache_contains()
    assert function.cache_info().currsize == 0


@on_clock
async def test_expired_with_no_refresh_is_a_miss(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """Without calls there is no refresh."""
    function = timed(**BOTH)
    await settled(source, function(), "old")
    clock.now += TTL - 1
    await turns()
    assert len(source.works) == 1
    assert len(timers(clock)) == 1  # no timer is added for the due moment
    clock.now += 1
    await turns()
    assert function.cache_info() == (0, 1, 128, 0)
    await settled(source, function(), "new")
    assert function.cache_info() == (0, 2, 128, 1)


# It returns


@on_clock
async def test_ttl_and_refresh_start_anew(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += 10
    source.works[1].set_result("new")
    await turns()
    assert len(timers(clock)) == 1
    clock.now += REFRESH - 1
    assert at_once(function()) == "new"
    await turns()
    assert len(source.works) == 2
    clock.now += 1
    assert at_once(function()) == "new"
    await turns()
    assert len(source.works) == 3
    source.works[2].set_exception(asyncio.CancelledError())
    await turns()
    clock.now += TTL - REFRESH - 1
    assert function.cache_contains()
    clock.now += 1
    assert not function.cache_contains()
    await turns()
    assert function.cache_info().currsize == 0


@on_clock
async def test_zero_removes_the_entry(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """So that no result is served for ever after the thing itself was deleted."""
    function = timed(ttl=lambda found: TTL if found else 0, refresh=REFRESH)
    await refreshing(source, clock, function)
    source.works[1].set_result(None)
    await turns()
    assert not function.cache_contains()
    assert function.cache_info() == (1, 1, 128, 0)
    assert timers(clock) == []
    await settled(source, function(), "again")
    assert function.cache_info() == (1, 2, 128, 1)


@on_clock
async def test_each_result_has_its_own_lifetime(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(ttl={"old": TTL, "ever": None, "new": TTL}.get, refresh=REFRESH)
    await refreshing(source, clock, function)
    source.works[1].set_result("ever")
    await turns()
    assert timers(clock) == []
    clock.now += 10 * TTL
    assert at_once(function()) == "ever"
    await turns()
    source.works[2].set_result("new")
    await turns()
    assert at_once(function()) == "new"
    assert len(timers(clock)) == 1
    clock.now += TTL
    await turns()
    assert function.cache_info().currsize == 0


@on_clock
async def test_the_old_result_is_released_when_the_new_one_is_there(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    old, new = Thing(), Thing()
    await settled(source, function(), old)
    gone = weakref.ref(old)
    del old
    source.works.clear()
    clock.now += REFRESH
    at_once(function())
    await turns()
    source.works[0].set_result(new)
    await turns()
    collect()
    assert gone() is None
    assert at_once(function()) is new


@on_clock
async def test_a_load_slower_than_the_interval_lands(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(ttl=TTL, refresh=10)
    await settled(source, function(), "old")
    for _ in range(9):
        clock.now += 10
        assert at_once(function()) == "old"
        await turns()
    assert len(source.works) == 2
    clock.now += 10
    await turns()
    clock.now += 10
    source.works[1].set_result("new")
    await turns()
    assert at_once(function()) == "new"
    assert function.cache_info() == (10, 1, 128, 1)


@on_clock
async def test_a_refresh_is_not_collected_for_want_of_a_reference(
    clock: ClockLoop, timed: Decorate
) -> None:
    """As long as what it waits for is not collected."""
    calls: List[int] = []
    futures: "weakref.WeakSet[asyncio.Future[str]]" = weakref.WeakSet()

    async def fetch() -> str:
        calls.append(1)
        if len(calls) == 1:
            return "old"
        future = clock.create_future()
        futures.add(future)
        result: str = await future
        return result

    function: Any = timed(fetch, **BOTH)
    await function()
    clock.now += REFRESH
    await function()
    await turns()
    gc.collect()
    assert function.cache_parameters()["tasks"] == 1
    (future,) = futures
    future.set_result("new")
    await turns()
    assert await function() == "new"


@on_clock
async def test_a_refresh_outlives_the_call_that_began_it(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await due(source, clock, function)

    async def caller() -> None:
        assert await function() == "old"
        await asyncio.Event().wait()

    (task,) = await begin(caller())
    task.cancel()
    await turns()
    assert not source.works[1].done()
    source.works[1].set_result("new")
    await turns()
    assert at_once(function()) == "new"


# Counters, and so on


@on_clock
async def test_a_refresh_is_no_call(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    assert function.cache_info() == (1, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 1
    assert function.cache_contains()
    clock.now += TTL
    assert function.cache_contains()
    await turns()
    assert function.cache_contains()
    assert function.cache_info() == (1, 1, 128, 1)
    assert function.cache_invalidate()
    assert not function.cache_contains()
    assert not function.cache_invalidate()


@on_clock
async def test_maxsize_zero_has_no_effect(clock: ClockLoop, timed: Decorate) -> None:
    calls: List[int] = []

    async def count() -> int:
        calls.append(1)
        return len(calls)

    function = timed(count, **BOTH, maxsize=0)
    for n in range(1, 4):
        assert await function() == n
        clock.now += REFRESH
    await turns()
    assert len(calls) == 3
    assert function.cache_info() == (0, 3, 0, 0)


@on_clock
async def test_work_that_awaits_its_own_key_gets_the_old_result(
    clock: ClockLoop, timed: Decorate
) -> None:
    calls: List[int] = []

    async def fetch() -> str:
        calls.append(1)
        if len(calls) == 1:
            return "old"
        return f"not {await cached()}"

    cached: Any = timed(fetch, **BOTH)
    await cached()
    clock.now += REFRESH
    assert await cached() == "old"
    await turns()
    assert await cached() == "not old"
    assert len(calls) == 2
    assert cached.cache_info() == (3, 1, 128, 1)
