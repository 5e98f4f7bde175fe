"""Contract 10: refresh ahead of expiry."""

import asyncio
import contextvars
import functools
import gc
import sys
import weakref
from typing import Any, Dict, List, Tuple

import pytest

from async_lru import alru_cache

from .helpers import (
    ClockLoop,
    Decorate,
    Source,
    Thing,
    Worker,
    collect,
    identity,
    messages,
    on_clock,
    timers,
    turns,
)

TTL = 100.0
REFRESH = 60.0
BOTH = {"ttl": TTL, "refresh": REFRESH}
Logged = List[Dict[str, Any]]
NEVER = "Task exception was never retrieved"
STAYS = "A refresh failed, and the old result stays until its ttl"


def at_once(call: Any) -> Any:
    """What a call answers with that does not suspend."""
    try:
        call.send(None)
    except StopIteration as answer:
        return answer.value
    call.close()
    pytest.fail("suspended")


async def settled(source: Source, call: Any, result: Any) -> None:
    """Have a call begin work, and the work return."""
    caller = asyncio.ensure_future(call)
    await turns()
    source.works[-1].set_result(result)
    assert await caller is result


async def due(source: Source, clock: ClockLoop, function: Any, *args: Any) -> None:
    """Have an old result that is due, and nothing running."""
    await settled(source, function(*args), "old")
    clock.now += REFRESH


async def refreshing(source: Source, clock: ClockLoop, function: Any, *args: Any) -> None:
    """The same, with a refresh that runs."""
    await due(source, clock, function, *args)
    assert at_once(function(*args)) == "old"
    await turns()
    assert len(source.works) == 2
    assert not source.works[1].done()


# The option


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"refresh": 5}, ValueError, "refresh requires ttl to be set"),
        ({"refresh": 5, "ttl": 5}, ValueError, "less than"),
        ({"refresh": 6, "ttl": 5}, ValueError, "less than ttl, got refresh=6 and ttl=5$"),
        ({"refresh": 0, "ttl": 0}, ValueError, "less than"),
        ({"refresh": float("inf"), "ttl": float("inf")}, ValueError, "less than"),
        ({"refresh": -1, "ttl": 5}, ValueError, "refresh must be non-negative"),
        ({"refresh": float("nan"), "ttl": 5}, ValueError, "refresh"),
        ({"refresh": float("nan"), "ttl": lambda _: 5}, ValueError, "refresh"),
        ({"refresh": 10**400, "ttl": lambda _: 5}, ValueError, "too large"),
        ({"refresh": "5", "ttl": 50}, TypeError, "refresh must be a number"),
        ({"refresh": 5j, "ttl": 50}, TypeError, "refresh must be a number"),
        ({"refresh": lambda _: 5, "ttl": 50}, TypeError, "refresh must be a number"),
    ],
)
def test_options_that_make_no_sense(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        alru_cache(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"refresh": 0, "ttl": 1},
        {"refresh": 0.5, "ttl": 1},
        {"refresh": 5, "ttl": float("inf")},
        {"refresh": 5, "ttl": lambda _: 1},
        {"refresh": 5, "ttl": lambda _: None, "jitter": 3},
        {"refresh": None},
    ],
)
def test_options_that_do(options: Any) -> None:
    alru_cache(**options)


@pytest.mark.parametrize("ttl", [50.0, REFRESH])
@on_clock
async def test_a_result_whose_own_ttl_is_not_above_refresh_just_expires(
    clock: ClockLoop, source: Source, timed: Decorate, ttl: float
) -> None:
    function = timed(ttl=lambda _: ttl, refresh=REFRESH)
    await settled(source, function(), "old")
    clock.now += ttl - 1
    assert at_once(function()) == "old"
    await turns()
    assert len(source.works) == 1
    clock.now += 1
    await turns()
    assert function.cache_info().currsize == 0
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
    """Of the clock: the first that is drawn is a half, the second three quarters."""
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
    clock.now += TTL - REFRESH - 1  # the old one's last second
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
async def test_expiry_has_the_same_jitter(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH, jitter=20)
    await settled(source, function(), "old")
    clock.now += TTL + 9
    assert function.cache_contains()
    clock.now += 1
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
    """At the very moments."""
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
    clock.now += TTL  # its timer has yet to run
    await settled(source, function(1), "newer")
    assert function.cache_info() == (3, 2, 128, 1)


@on_clock
async def test_never_served_past_ttl(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """Not with a refresh that runs either, nor with a loop that was blocked."""
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH - 0.001
    assert at_once(function()) == "old"
    clock.now += 0.001
    caller = asyncio.ensure_future(function())
    await turns()
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


@on_clock
async def test_one_refresh_at_a_time(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await due(source, clock, function)
    for _ in range(10):
        assert at_once(function()) == "old"
        await turns(1)
    await asyncio.gather(*[function() for _ in range(10)])
    assert len(source.works) == 2
    assert function.cache_parameters()["tasks"] == 1
    assert function.cache_info() == (20, 1, 128, 1)


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
    clock: ClockLoop, timed: Decorate, eager: Any
) -> None:
    """The call has the old result; the next one has the new result, kept or not."""
    clock.set_task_factory(eager)
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
async def test_eager_and_failed_at_once(
    clock: ClockLoop, timed: Decorate, logged: Logged, eager: Any
) -> None:
    clock.set_task_factory(eager)
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
async def test_eager_and_suspended(
    clock: ClockLoop, source: Source, timed: Decorate, eager: Any
) -> None:
    clock.set_task_factory(eager)
    function = timed(**BOTH)
    await due(source, clock, function)
    assert at_once(function()) == "old"
    assert len(source.works) == 2
    source.works[1].set_result("new")
    await turns()
    assert at_once(function()) == "new"


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

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("no tasks")

    before = function.cache_info(), function.cache_parameters()
    clock.set_task_factory(refuse)
    with pytest.raises(ValueError, match="no tasks"):
        at_once(function())
    clock.set_task_factory(None)
    assert (function.cache_info(), function.cache_parameters()) == before
    assert at_once(function()) == "old"


# Expired


@on_clock
async def test_expired_and_joined(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH
    callers = [asyncio.ensure_future(function()) for _ in range(2)]
    await turns()
    assert len(source.works) == 2
    assert function.cache_info() == (3, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 1
    source.works[1].set_result("new")
    assert await asyncio.gather(*callers) == ["new"] * 2
    assert at_once(function()) == "new"
    clock.now += REFRESH - 1
    at_once(function())
    await turns()
    assert len(source.works) == 2  # its time starts anew


@pytest.mark.parametrize("late", [True, False], ids=["timer late", "timer in time"])
@on_clock
async def test_joined_and_failed(
    clock: ClockLoop, source: Source, timed: Decorate, late: bool
) -> None:
    """It reaches those who wait, and need not be logged."""
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH
    if not late:
        await turns()
    callers = [asyncio.ensure_future(function()) for _ in range(2)]
    await turns()
    source.works[1].set_exception(ValueError("down"))
    for caller in callers:
        with pytest.raises(ValueError, match="down"):
            await caller
    assert not function.cache_contains()
    await settled(source, function(), "newer")
    assert function.cache_info() == (3, 2, 128, 1)


@on_clock
async def test_joined_and_cancelled_with_its_last_caller(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    clock.now += TTL - REFRESH
    callers = [asyncio.ensure_future(function()) for _ in range(2)]
    await turns()
    callers[0].cancel()
    await turns()
    assert not source.works[1].done()
    callers[1].cancel()
    await turns()
    assert source.works[1].cancelled()
    assert not function.cache_contains()
    assert function.cache_info().currsize == 0


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
    callers = [asyncio.ensure_future(function()) for _ in range(2)]
    await turns()
    tasks[1].cancel()
    await turns()
    assert all(caller.cancelled() for caller in callers)
    assert not function.cache_contains()


@on_clock
async def test_a_waiter_who_joined_is_not_dropped_with_the_refresh(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """An invalidation, a clear or an eviction leaves it alone, as any call in flight."""
    for drop in "invalidate", "clear", "evict":
        source.works.clear()
        function = timed(**BOTH, maxsize=1)
        await refreshing(source, clock, function, 1)
        clock.now += TTL - REFRESH
        caller = asyncio.ensure_future(function(1))
        await turns()
        if drop == "invalidate":
            assert function.cache_invalidate(1)
        elif drop == "clear":
            function.cache_clear()
        else:
            await settled(source, function(2), "other")
        await turns()
        assert not source.works[1].done()
        source.works[1].set_result("new")
        assert await caller == "new"
        assert not function.cache_contains(1)


@on_clock
async def test_expired_with_no_refresh_is_a_miss(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """What nobody asks for is not refreshed."""
    function = timed(**BOTH)
    await settled(source, function(), "old")
    clock.now += TTL - 1
    await turns()
    assert len(source.works) == 1
    assert len(timers(clock)) == 1  # none for the due moment
    clock.now += 1
    await turns()
    assert function.cache_info() == (0, 1, 128, 0)
    await settled(source, function(), "new")
    assert function.cache_info() == (0, 2, 128, 1)


# It returns


@on_clock
async def test_all_starts_anew(clock: ClockLoop, source: Source, timed: Decorate) -> None:
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
async def test_zero_says_that_it_is_gone(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """Not stale for ever after the thing was deleted."""
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
async def test_for_ever_after_a_while_and_a_while_after_ever(
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
async def test_the_old_result_goes_when_the_new_one_is_there(
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
    clock.now += 1  # not prolonged
    assert not function.cache_contains()
    await settled(source, function(), "new")
    assert function.cache_info() == (3, 2, 128, 1)


@on_clock
async def test_an_outage_does_not_turn_every_hit_into_an_attempt(
    clock: ClockLoop, source: Source, timed: Decorate, logged: Logged
) -> None:
    """The next one starts with the first call ``refresh`` seconds after the failure."""
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
async def test_cancelled_from_outside_amid_its_work(
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
    assert things[0]() is None


@pytest.mark.parametrize("how", ["in a circle", "eager"])
@on_clock
async def test_failures_of_other_kinds_need_none_either(
    clock: ClockLoop, how: str, request: pytest.FixtureRequest, no_collector: None
) -> None:
    if how == "eager":
        clock.set_task_factory(request.getfixturevalue("eager"))
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
    if how == "eager":  # asyncio's own frames, which made the task, are in a cycle with it
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
    assert function.cache_contains()  # as long as the refresh runs
    assert function.cache_info() == (1, 1, 128, 1)
    # Callers join it, and their timeouts end it.
    caller = asyncio.ensure_future(asyncio.wait_for(function(), 5))
    await turns()
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
async def test_a_refresh_is_not_collected_for_want_of_a_reference(
    clock: ClockLoop, timed: Decorate
) -> None:
    """Not while what it waits for is not either."""
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

    task = asyncio.ensure_future(caller())
    await turns()
    task.cancel()
    await turns()
    assert not source.works[1].done()
    source.works[1].set_result("new")
    await turns()
    assert at_once(function()) == "new"


# Evicted, invalidated, cleared, closed


def drop(function: Any, how: str) -> None:
    if how == "invalidate":
        assert function.cache_invalidate(1)
    else:
        function.cache_clear()


@pytest.mark.parametrize("expired", [False, True], ids=["due", "expired"])
@pytest.mark.parametrize("how", ["invalidate", "clear"])
@on_clock
async def test_dropped_it_is_cancelled(
    clock: ClockLoop, source: Source, timed: Decorate, how: str, expired: bool
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function, 1)
    if expired:
        clock.now += TTL
        await turns()
    drop(function, how)
    assert not function.cache_contains(1)
    await turns()
    assert source.works[1].cancelled()
    assert function.cache_parameters()["tasks"] == 0
    assert function.cache_info().currsize == 0
    assert timers(clock) == []


@pytest.mark.parametrize("expired", [False, True], ids=["due", "expired"])
@on_clock
async def test_evicted_it_is_cancelled(
    clock: ClockLoop, source: Source, timed: Decorate, expired: bool
) -> None:
    """At once: whether or not the call that has evicted it comes to an end."""
    function = timed(**BOTH, maxsize=1)
    await refreshing(source, clock, function, 1)
    if expired:
        clock.now += TTL
        await turns()
    other = asyncio.ensure_future(function(2))
    await turns()
    assert not other.done()
    assert source.works[1].cancelled()
    assert function.cache_parameters()["tasks"] == 1
    source.works[2].set_result("other")
    await other
    assert len(timers(clock)) == 1


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@on_clock
async def test_dropped_before_its_first_step(
    clock: ClockLoop, source: Source, timed: Decorate, how: str
) -> None:
    function = timed(**BOTH)
    await due(source, clock, function, 1)
    at_once(function(1))
    drop(function, how)
    await turns()
    assert [work.cancelled() for work in source.works[1:]] in ([], [True])
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(1)


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@on_clock
async def test_dropped_before_its_first_eager_step_has_ended(
    clock: ClockLoop, timed: Decorate, how: str, eager: Any
) -> None:
    """By its own call."""
    clock.set_task_factory(eager)
    calls: List[int] = []
    cancelled: List[int] = []

    async def fetch(key: int) -> str:
        calls.append(1)
        if len(calls) == 2:
            drop(function, how)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(1)
                raise
        return f"result {len(calls)}"

    function: Any = timed(fetch, **BOTH)
    await function(1)
    clock.now += REFRESH
    assert at_once(function(1)) == "result 1"
    await turns()
    assert cancelled == [1]
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(1)


@pytest.mark.parametrize("is_eager", [False, True], ids=["", "eager"])
@on_clock
async def test_evicted_by_its_own_inner_call(
    clock: ClockLoop, timed: Decorate, is_eager: bool, request: pytest.FixtureRequest
) -> None:
    if is_eager:
        clock.set_task_factory(request.getfixturevalue("eager"))
    calls: List[int] = []
    ended: List[str] = []

    async def fetch(key: int) -> str:
        calls.append(key)
        if calls.count(1) == 2 and key == 1:
            try:
                await cached(2)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
        return f"result of {key}"

    cached: Any = timed(fetch, **BOTH, maxsize=1)
    await cached(1)
    clock.now += REFRESH
    assert at_once(cached(1)) == "result of 1"
    await turns(10)
    assert ended == ["cancelled"]
    assert cached.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("how", ["invalidate", "clear", "evict"])
@on_clock
async def test_a_late_result_touches_nothing(
    clock: ClockLoop, timed: Decorate, how: str
) -> None:
    """Not even of one that swallows its cancellation."""
    gate = asyncio.Event()
    calls: List[int] = []
    swallowed: List[int] = []

    async def fetch(key: int) -> str:
        calls.append(key)
        if len(calls) == 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(1)
            await gate.wait()
            return "late"
        return f"result {len(calls)}"

    function: Any = timed(fetch, **BOTH, maxsize=1)
    await function(1)
    clock.now += REFRESH
    await function(1)
    await turns()
    if how == "evict":
        assert await function(2) == "result 3"
    else:
        drop(function, how)
    await turns()
    assert swallowed == [1]
    assert function.cache_parameters()["tasks"] == 1
    newer = await function(1)
    gate.set()
    await turns()
    assert function.cache_parameters()["tasks"] == 0
    assert at_once(function(1)) == newer != "late"
    assert len(timers(clock)) == 1


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@on_clock
async def test_a_late_failure_touches_nothing(
    clock: ClockLoop, timed: Decorate, logged: Logged, how: str
) -> None:
    calls: List[int] = []
    gate = asyncio.Event()

    async def fetch(key: int) -> str:
        calls.append(key)
        if len(calls) == 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await gate.wait()
                raise ValueError("late") from None
        return f"result {len(calls)}"

    function: Any = timed(fetch, **BOTH)
    await function(1)
    clock.now += REFRESH
    await function(1)
    await turns()
    drop(function, how)
    await turns()
    assert await function(1) == "result 3"
    gate.set()
    await turns()
    assert messages(logged) == [(NEVER, "ValueError('late')")]
    assert at_once(function(1)) == "result 3"
    clock.now += REFRESH - 1
    assert at_once(function(1)) == "result 3"
    await turns()
    assert len(calls) == 3
    clock.now += 1
    at_once(function(1))
    await turns()
    assert len(calls) == 4


@on_clock
async def test_a_dropped_refresh_leaves_no_timer(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """Nor does what its entry had, once all that were queued beside it are dropped as well."""
    function = timed(**BOTH)
    for key in 1, 2, 3:
        await settled(source, function(key), "old")
    clock.now += REFRESH
    at_once(function(1))
    await turns()
    for key in 1, 2, 3:
        assert function.cache_invalidate(key)
        await turns()
    assert function.cache_parameters()["tasks"] == 0
    assert timers(clock) == []


@on_clock
async def test_invalidated_from_another_thread(
    clock: ClockLoop, source: Source, timed: Decorate, worker: Worker
) -> None:
    """The refresh is cancelled in its own loop."""
    function = timed(**BOTH)
    await refreshing(source, clock, function, 1)
    for how in "invalidate", "clear":
        worker.call(functools.partial(drop, function, how))
        await turns()
        assert source.works[-1].cancelled()
        assert function.cache_parameters()["tasks"] == 0
        if how == "invalidate":
            source.works.clear()
            await refreshing(source, clock, function, 1)


@pytest.mark.parametrize("wait", [False, True])
@on_clock
async def test_closing_ends_those_that_run(
    clock: ClockLoop, source: Source, timed: Decorate, wait: bool
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    closing = asyncio.ensure_future(function.cache_close(wait=wait))
    await turns()
    assert closing.done() != wait
    if wait:
        source.works[1].set_result("new")
        await turns()
    await closing
    assert source.works[1].cancelled() != wait
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(RuntimeError, match="closed"):
        await function()
    await turns()
    assert len(source.calls) == 2  # a closed cache starts none
    assert function.cache_parameters()["tasks"] == 0
    assert timers(clock) == []


@on_clock
async def test_a_closed_cache_starts_none(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await due(source, clock, function)
    await function.cache_close()
    before = function.cache_info()
    with pytest.raises(RuntimeError, match="closed"):
        await function()
    await turns()
    assert len(source.calls) == 1
    assert function.cache_info() == before


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


def test_each_loop_refreshes_its_own(worker: Worker, another: Worker) -> None:
    loops: List[asyncio.AbstractEventLoop] = []

    async def fetch() -> int:
        loops.append(asyncio.get_running_loop())
        return len(loops)

    function: Any = alru_cache(ttl=1000, refresh=0)(fetch)

    async def twice() -> None:
        await function()
        await function()
        await turns()

    worker.run(twice())
    another.run(twice())
    assert loops == [worker.loop] * 2 + [another.loop] * 2
    assert function.cache_info() == (2, 2, 128, 2)
    for loop in worker, another:
        loop.run(function.cache_close())


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


@on_clock
async def test_the_task_shows_the_function(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await due(source, clock, function)
    before = asyncio.all_tasks()
    at_once(function())
    (refresh,) = asyncio.all_tasks() - before
    assert "Source.fetch" in repr(refresh)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="new in 3.14")
@on_clock
async def test_a_due_hit_waits_for_nothing_in_the_call_graph(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(**BOTH)
    await refreshing(source, clock, function)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        graph: Any = asyncio.capture_call_graph(task)  # type: ignore[attr-defined,unused-ignore]  # pyright: ignore[reportAttributeAccessIssue]
        assert graph.awaited_by == ()


# Task factories, on every Python


@on_clock
async def test_a_factory_that_runs_the_refresh_at_once(
    clock: ClockLoop, timed: Decorate
) -> None:
    """As an eager one does with what never waits."""

    class Done(asyncio.Future):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
        """What stands for the task, which asyncio gives a name."""

        def set_name(self, name: object) -> None: ...

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: Any) -> Any:
        done = Done(loop=loop)
        done.set_result(at_once(coroutine))
        return done

    calls: List[int] = []

    async def fetch() -> int:
        calls.append(1)
        return len(calls)

    function = timed(fetch, **BOTH)
    assert await function() == 1
    clock.now += REFRESH
    clock.set_task_factory(factory)
    try:
        assert at_once(function()) == 1
    finally:
        clock.set_task_factory(None)
    assert at_once(function()) == 2
    assert function.cache_info() == (2, 1, 128, 1)


@on_clock
async def test_a_refresh_whose_task_cannot_be_made(clock: ClockLoop, timed: Decorate) -> None:
    async def fetch() -> str:
        return "x"

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no more tasks")

    function = timed(fetch, **BOTH)
    assert await function() == "x"
    clock.now += REFRESH
    clock.set_task_factory(refuse)
    try:
        with pytest.raises(OSError, match="no more tasks"):
            await function()
    finally:
        clock.set_task_factory(None)
    assert function.cache_info() == (0, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 0
    assert await function() == "x"
    await turns()
    assert function.cache_info() == (1, 1, 128, 1)


@pytest.mark.parametrize("ttl", [5, 10])
@on_clock
async def test_an_own_ttl_that_is_not_above_refresh(clock: ClockLoop, ttl: float) -> None:
    """It just expires, for a loop too that was blocked and is late with its timers."""
    function: Any = alru_cache(ttl=lambda _: ttl, refresh=10)(identity)
    await function(1)
    clock.now += ttl
    await function(1)
    assert function.cache_info() == (0, 2, 128, 1)
    assert function.cache_parameters()["tasks"] == 0
