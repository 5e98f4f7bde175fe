"""Contract 7: expiry."""

import asyncio
import gc
import random
import time
from datetime import timedelta
from typing import Any, List
from unittest import mock

import pytest

from async_lru import alru_cache

from .helpers import (
    ClockLoop,
    Decorate,
    Source,
    clock_loop,
    identity,
    on_clock,
    this_loop,
    timers,
    turns,
)


async def now() -> float:
    return time.monotonic()


def block(seconds: float) -> None:
    """Keep the loop from running anything."""
    time.sleep(seconds)


async def test_entries_expire_by_themselves(cached: Decorate) -> None:
    function = cached(now, ttl=0.02)
    first = await function()
    assert await function() == first
    assert function.cache_contains()
    await asyncio.sleep(0.1)
    assert function.cache_info().currsize == 0
    assert not function.cache_contains()
    assert await function() > first


async def test_ttl_counts_from_the_end_of_the_work(source: Source, cached: Decorate) -> None:
    function = cached(ttl=0.1)
    caller = asyncio.ensure_future(function(1))
    await asyncio.sleep(0.15)
    assert timers(asyncio.get_running_loop()) == []
    assert function.cache_contains(1)
    source.works[0].set_result("x")
    await caller
    assert await function(1) == "x"


async def test_never_served_after_the_loop_was_blocked(cached: Decorate) -> None:
    function = cached(now, ttl=0.02)
    first = await function()
    block(0.03)
    assert not function.cache_contains()
    assert not function.cache_invalidate()
    assert await function() > first
    assert function.cache_info() == (0, 2, 128, 1)
    assert len(timers(asyncio.get_running_loop())) == 1


def test_a_result_that_replaces_an_expired_one_is_the_most_recent() -> None:
    with clock_loop() as loop:
        function = alru_cache(maxsize=2, ttl=5)(identity)

        async def main() -> None:
            await function(1)
            loop.now += 3
            await function(2)
            loop.now += 3  # 1 has expired, and its timer has yet to run
            await function(1)
            await function(3)

        loop.run_until_complete(main())
        assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]
        loop.run_until_complete(function.cache_close())


def test_a_call_that_finds_one_expired_evicts_no_other() -> None:
    with clock_loop() as loop:
        function = alru_cache(maxsize=2, ttl=5)(identity)

        async def main() -> None:
            await function(1)
            loop.now += 3
            await function(2)
            await function(1)  # 2 is the least recently used
            loop.now += 3  # 1 has expired, and its timer has yet to run
            await function(1)

        loop.run_until_complete(main())
        assert [function.cache_contains(x) for x in (1, 2)] == [True, True]
        loop.run_until_complete(function.cache_close())


async def test_an_expired_result_that_equals_anything_is_not_served(cached: Decorate) -> None:
    calls = []

    async def anything() -> Any:
        calls.append(1)
        return mock.ANY

    function = cached(anything, ttl=0)
    await function()
    await function()
    assert len(calls) == 2


def test_expired_at_the_very_moment() -> None:
    with clock_loop() as loop:
        function = alru_cache(now, ttl=5)

        async def main() -> None:
            await function()
            loop.now += 5  # the timer has yet to run
            assert not function.cache_contains()
            await function()

        loop.run_until_complete(main())
        assert function.cache_info() == (0, 2, 128, 1)
        loop.run_until_complete(function.cache_close())


class Handle:
    """A timer of a loop that is not written in Python: it cannot be weakly referenced."""

    __slots__ = ("timer",)

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer

    def cancel(self) -> None:
        self.timer.cancel()


def test_timers_that_cannot_be_weakly_referenced() -> None:
    with clock_loop() as loop:
        call_later = loop.call_later
        set_timers: Any = loop
        set_timers.call_later = lambda *args, **options: Handle(call_later(*args, **options))
        function = alru_cache(ttl=10)(identity)

        async def main() -> None:
            assert [await function(1), await function(2)] == [1, 2]
            loop.now += 10
            await turns()
            assert function.cache_info().currsize == 0
            await function(3)
            function.cache_invalidate(3)
            await turns()
            assert timers(loop) == []

        loop.run_until_complete(main())


def test_many_that_expire_at_once_do_not_block_the_loop() -> None:
    """They are removed a few milliseconds at a time, and not served meanwhile."""
    many = 50_000
    with clock_loop() as loop:
        function = alru_cache(maxsize=None, ttl=10)(identity)

        async def main() -> None:
            for key in range(many):
                await function(key)
            loop.now += 10
            await turns(2)  # one for the timer to be noticed, one in which it fires
            left = function.cache_info().currsize
            assert 0 < left < many
            assert not function.cache_contains(many - 1)
            while function.cache_info().currsize:
                await turns(1)
            assert timers(loop) == []

        loop.run_until_complete(main())


async def test_never_served_in_a_tight_loop_of_hits(cached: Decorate) -> None:
    function = cached(now, ttl=0.02)
    first = await function()
    deadline = time.monotonic() + 1
    while await function() == first:
        assert time.monotonic() < deadline


async def test_ttl_zero_shares_the_work_and_keeps_nothing(
    source: Source, cached: Decorate
) -> None:
    function = cached(ttl=0)
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    await turns()
    source.works[0].set_result("x")
    assert await asyncio.gather(*callers) == ["x", "x"]
    assert not function.cache_contains(1)
    again = asyncio.ensure_future(function(1))
    await turns()
    source.works[1].set_result("y")
    assert await again == "y"
    await asyncio.sleep(0.01)
    assert function.cache_info() == (1, 2, 128, 0)


@pytest.mark.parametrize("ttl", [float("inf"), 1e300])
async def test_ttl_without_end(cached: Decorate, ttl: float) -> None:
    function = cached(now, ttl=ttl)
    assert await function() == await function()


async def test_jitter_is_drawn_per_entry(
    cached: Decorate, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: List[Any] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high * (len(drawn) - 1)

    monkeypatch.setattr(random, "uniform", uniform)

    async def identity(x: int) -> int:
        return x

    function = cached(identity, ttl=0.03, jitter=0.3)
    await function(1)
    await function(2)
    assert drawn == [(0, 0.3)] * 2
    await asyncio.sleep(0.1)
    assert [function.cache_contains(x) for x in (1, 2)] == [False, True]


@pytest.mark.parametrize("how", ["clear", "invalidate", "evict", "close", "expire"])
async def test_no_timer_outlives_its_entry(cached: Decorate, how: str) -> None:
    async def identity(x: int) -> int:
        return x

    function = cached(identity, maxsize=1, ttl=0.05)
    loop = asyncio.get_running_loop()
    await function(1)
    assert len(timers(loop)) == 1
    if how == "clear":
        function.cache_clear()
    elif how == "invalidate":
        function.cache_invalidate(1)
    elif how == "evict":
        await function(2)
        assert len(timers(loop)) == 1
        function.cache_clear()
    elif how == "close":
        await function.cache_close()
        assert function.cache_info().currsize == 1
    else:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0)  # the loop has turned
    assert timers(loop) == []


def test_no_timer_for_what_was_invalidated_before_the_last_one_expired() -> None:
    with clock_loop() as loop:
        function = alru_cache(ttl=lambda seconds: seconds)(identity)

        async def main() -> None:
            await function(10)
            await function(20)
            assert function.cache_invalidate(20)
            loop.now += 10
            await turns()
            assert function.cache_info().currsize == 0
            assert timers(loop) == []

        loop.run_until_complete(main())


async def test_one_timer_for_all(cached: Decorate) -> None:
    async def identity(x: int) -> int:
        return x

    function = cached(identity, ttl=1000)
    loop = asyncio.get_running_loop()
    for x in range(10):
        await function(x)
        assert len(timers(loop)) == 1
    for x in range(10):
        assert len(timers(loop)) == 1
        function.cache_invalidate(x)
    await asyncio.sleep(0)
    assert timers(loop) == []


def test_no_timer_for_one_that_was_invalidated_behind_another() -> None:
    with clock_loop() as loop:
        function = alru_cache(ttl=10)(identity)

        async def main() -> None:
            await function(1)
            loop.now += 9
            await function(2)
            function.cache_invalidate(2)  # 1 is the next to expire, and keeps the timer
            await turns()
            loop.now += 1
            await turns()
            assert function.cache_info().currsize == 0
            assert timers(loop) == []

        loop.run_until_complete(main())


@pytest.mark.parametrize("invalidated", [0, 50, 90])
def test_each_expires_in_its_time(invalidated: int) -> None:
    """However many have gone before their time, and in whatever order they expire."""

    async def identity(x: int) -> int:
        return x

    chance = random.Random(invalidated)
    jitters = [chance.random() for _ in range(100)]
    drawn = iter(jitters)
    with clock_loop() as loop, mock.patch(
        "random.uniform", lambda _, high: high * next(drawn)
    ):
        function = alru_cache(maxsize=None, ttl=10, jitter=10)(identity)

        async def main() -> None:
            for x in range(100):
                await function(x)
            alive = list(range(100))
            chance.shuffle(alive)
            while len(alive) > 100 - invalidated:
                assert function.cache_invalidate(alive.pop())
            start = loop.now
            for x in sorted(alive, key=lambda x: jitters[x]):
                loop.now = start + 10 + 10 * jitters[x] - 1e-6
                await turns()
                assert function.cache_contains(x)
                assert function.cache_info().currsize == len(alive)
                loop.now += 2e-6
                await turns()
                alive.remove(x)
                assert function.cache_info().currsize == len(alive)
            assert timers(loop) == []

        loop.run_until_complete(main())


def test_a_timer_may_be_early_by_the_clocks_resolution() -> None:
    with clock_loop() as loop:
        loop._clock_resolution = 0.1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        function = alru_cache(now, ttl=5)

        async def main() -> None:
            await function()
            loop.now += 4.95
            await turns()
            assert function.cache_info().currsize == 0
            assert timers(loop) == []

        loop.run_until_complete(main())


async def test_one_that_cannot_be_compared_does_not_hold_up_the_others(
    source: Source, cached: Decorate
) -> None:
    class Key:
        broken = False

        def __hash__(self) -> int:
            return hash(1)

        def __eq__(self, other: object) -> bool:
            if self.broken:
                raise ValueError("cannot be compared")
            return self is other

    errors: List[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: errors.append(str(context["exception"]))
    )
    function = cached(ttl=0.02)
    key = Key()
    callers = [asyncio.ensure_future(function(x)) for x in (key, 1, 2)]
    await turns()
    for work in source.works[1:]:
        work.set_result(None)
    await turns()
    key.broken = True  # to remove 1 is to compare it with this, which is in its way
    await asyncio.sleep(0.1)
    assert set(errors) <= {"cannot be compared"}
    key.broken = False
    assert [function.cache_contains(x) for x in (1, 2)] == [False, False]
    source.works[0].set_result("x")
    assert (await asyncio.gather(*callers))[0] == "x"
    for x in 1, 2:  # it keeps serving
        caller = asyncio.ensure_future(function(x))
        await turns()
        source.works[-1].set_result("y")
        assert await caller == await function(x) == "y"


@on_clock
async def test_what_is_dropped_does_not_pile_up_though_much_has_expired(
    clock: ClockLoop, timed: Decorate
) -> None:
    """What was to expire next has been dropped, each time that something expires."""
    function = timed(identity, ttl=lambda seconds: seconds)
    for x in range(1000, 1010):
        await function(x)
    for _ in range(200):
        await function(1)
        await function(2)
        assert function.cache_invalidate(2)
        clock.now += 1
        await turns(2)
        assert function.cache_info().currsize == 10
    gc.collect()
    before = len(gc.get_objects())
    for x in range(2000, 2100):
        await function(x)
        assert function.cache_invalidate(x)
    gc.collect()
    assert len(gc.get_objects()) < before + 50


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    function = alru_cache(now, ttl=0.02)

    async def main() -> None:
        first = await function()
        assert await function() == first
        block(0.03)  # uvloop's own clock stands still meanwhile
        assert not function.cache_contains()
        second = await function()
        assert second > first
        deadline = time.monotonic() + 1
        while await function() == second:
            assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
        assert function.cache_info().currsize == 0
        block(0.03)
        await function()  # the clock is late, and the timer is not to be early
        assert function.cache_contains()
        await function.cache_close()

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@on_clock
async def test_seconds_as_a_timedelta(clock: ClockLoop, timed: Decorate) -> None:
    second = timedelta(seconds=1)
    plain = timed(identity, ttl=10 * second, jitter=4 * second)  # draws 0.5 and 0.75
    asked = timed(this_loop, ttl=lambda _: 10 * second, jitter=4 * second)
    await plain(1)
    await asked(1)
    clock.now += 11.9
    assert plain.cache_contains(1)
    clock.now += 0.2
    assert not plain.cache_contains(1)
    assert asked.cache_contains(1)
    clock.now += 1
    assert not asked.cache_contains(1)


@on_clock
async def test_an_age_as_a_timedelta(clock: ClockLoop, timed: Decorate) -> None:
    function = timed(this_loop, ttl=timedelta(minutes=1), refresh=timedelta(seconds=10))
    await function(1)
    for age, tasks in (9, 0), (10, 1):
        clock.now = 1000 + age
        await function(1)
        assert function.cache_parameters()["tasks"] == tasks
        await turns()


@pytest.mark.parametrize("answer", [timedelta(0), timedelta(-1)])
async def test_an_answer_of_no_time(cached: Decorate, answer: timedelta) -> None:
    function = cached(identity, ttl=lambda _: answer)
    assert await function(1) == 1
    assert not function.cache_contains(1)
