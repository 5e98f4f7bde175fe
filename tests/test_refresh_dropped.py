"""Contract 10: a refresh whose entry is evicted, invalidated, cleared, or closed."""

import asyncio
import functools
from typing import Any, List

import pytest

from .helpers import (
    BOTH,
    NEVER,
    REFRESH,
    TTL,
    ClockLoop,
    Decorate,
    Logged,
    Source,
    Worker,
    at_once,
    begin,
    due,
    messages,
    on_clock,
    refreshing,
    settled,
    start_at_once,
    tasks_made_by,
    timers,
    turns,
)


@on_clock
async def test_a_refresh_that_was_joined_goes_on(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """An invalidation, a clear or an eviction does not cancel the call for its waiters."""
    for drop in "invalidate", "clear", "evict":
        source.works.clear()
        function = timed(**BOTH, maxsize=1)
        await refreshing(source, clock, function, 1)
        clock.now += TTL - REFRESH
        (caller,) = await begin(function(1))
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
    """At once, even if the call that has evicted it never ends."""
    function = timed(**BOTH, maxsize=1)
    await refreshing(source, clock, function, 1)
    if expired:
        clock.now += TTL
        await turns()
    (other,) = await begin(function(2))
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


@pytest.mark.parametrize("how", ["invalidate", "clear", "evict"])
@on_clock
async def test_dropped_in_its_only_step(clock: ClockLoop, timed: Decorate, how: str) -> None:
    """Its own first step removes its entry, and it does not suspend."""
    calls: List[int] = []

    async def fetch(key: int) -> str:
        calls.append(key)
        if calls == [1, 1]:
            if how == "evict":
                await cached(2)
            else:
                drop(cached, how)
        return f"result {calls.count(1)}"

    cached: Any = timed(fetch, **BOTH, maxsize=1)
    await cached(1)
    clock.now += REFRESH
    with tasks_made_by(start_at_once):
        assert at_once(cached(1)) == "result 1"
    assert not cached.cache_contains(1)
    assert cached.cache_parameters()["tasks"] == 0
    assert await cached(1) == "result 3"


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@on_clock
async def test_dropped_before_its_first_eager_step_has_ended(
    clock: ClockLoop, timed: Decorate, how: str, eager: Any
) -> None:
    """Its own first step removes its entry."""
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
    """Even if the refresh swallows its cancellation."""
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
    """Its entry leaves none either, once all the other entries are invalidated as well."""
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
    (closing,) = await begin(function.cache_close(wait=wait))
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
