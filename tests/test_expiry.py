"""Contract 7: expiry."""

import asyncio
import random
import time
from datetime import timedelta
from typing import Any, List, Tuple
from unittest import mock

import pytest

from async_lru import alru_cache

from .helpers import (
    ClockLoop,
    Counter,
    Decorate,
    Source,
    at_once,
    begin,
    clock_loop,
    identity,
    objects,
    on_clock,
    settled,
    this_loop,
    timers,
    turns,
)


@on_clock
async def test_entries_expire_by_themselves(clock: ClockLoop, timed: Decorate) -> None:
    function = timed(Counter().call, ttl=10)
    assert [await function(), await function()] == [1, 1]
    clock.now += 9.999
    await turns()
    assert function.cache_contains()
    assert await function() == 1
    clock.now += 0.001
    await turns()
    assert function.cache_info() == (2, 1, 128, 0)
    assert not function.cache_contains()
    assert timers(clock) == []
    assert await function() == 2


@on_clock
async def test_ttl_counts_from_the_end_of_the_work(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(ttl=10)
    (caller,) = await begin(function(1))
    clock.now += 15
    await turns()
    assert timers(clock) == []
    assert function.cache_contains(1)
    source.works[0].set_result("x")
    await caller
    clock.now += 9
    assert await function(1) == "x"


@on_clock
async def test_never_served_though_the_timer_is_late(
    clock: ClockLoop, timed: Decorate
) -> None:
    """The loop may be blocked, or a tight loop of hits may keep it from its timers."""
    function = timed(Counter().call, ttl=5)
    assert [await function(), await function()] == [1, 1]
    clock.now += 5
    assert not function.cache_contains()
    assert not function.cache_invalidate()
    assert await function() == 2
    assert function.cache_info() == (1, 2, 128, 1)
    assert len(timers(clock)) == 1


@on_clock
async def test_an_expired_entry_cannot_be_invalidated(
    clock: ClockLoop, timed: Decorate
) -> None:
    """It is counted until it is removed, as it is without an invalidation."""
    function = timed(identity, ttl=5)
    await function(1)
    clock.now += 5
    assert not function.cache_invalidate(1)
    assert function.cache_info().currsize == 1
    await turns()
    assert function.cache_info().currsize == 0


@on_clock
async def test_a_result_that_replaces_an_expired_one_is_the_most_recent(
    clock: ClockLoop, timed: Decorate
) -> None:
    function = timed(identity, maxsize=2, ttl=5)
    await function(1)
    clock.now += 3
    await function(2)
    clock.now += 3  # 1 has expired, and its timer has yet to run
    await function(1)
    await function(3)
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]


@on_clock
async def test_a_call_that_finds_an_expired_entry_evicts_no_other(
    clock: ClockLoop, timed: Decorate
) -> None:
    function = timed(identity, maxsize=2, ttl=5)
    await function(1)
    clock.now += 3
    await function(2)
    await function(1)  # 2 is the least recently used
    clock.now += 3  # 1 has expired, and its timer has yet to run
    await function(1)
    assert [function.cache_contains(x) for x in (1, 2)] == [True, True]


async def test_an_expired_result_that_is_equal_to_everything(cached: Decorate) -> None:
    calls = []

    async def anything() -> Any:
        calls.append(1)
        return mock.ANY

    function = cached(anything, ttl=0)
    await function()
    await function()
    assert len(calls) == 2


Loop: Any = ClockLoop


class Handle:
    """A timer of a loop that is not written in Python: it cannot be weakly referenced."""

    __slots__ = ("timer",)

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer

    def cancel(self) -> None:
        self.timer.cancel()


@on_clock
async def test_timers_that_cannot_be_weakly_referenced(
    clock: ClockLoop, timed: Decorate
) -> None:
    call_later = clock.call_later
    set_timers: Any = clock
    set_timers.call_later = lambda *args, **options: Handle(call_later(*args, **options))
    function = timed(identity, ttl=10)
    assert [await function(1), await function(2)] == [1, 2]
    clock.now += 10
    await turns()
    assert function.cache_info().currsize == 0
    await function(3)
    function.cache_invalidate(3)
    await turns()
    assert timers(clock) == []


def test_the_loops_own_time_is_believed() -> None:
    """In a loop with virtual time, and in frozen time, entries expire by the loop's timers."""

    class Virtual(Loop):  # type: ignore[misc]
        """Skips the time in which there is nothing to do."""

        def _run_once(self) -> None:
            if not self._ready and self._scheduled:
                self.now = timers(self)[0].when()
            super()._run_once()

    counter = Counter()
    function = alru_cache(ttl=60)(counter.call)

    async def main() -> None:
        assert await function() == 1
        await asyncio.sleep(59)
        assert await function() == 1
        await asyncio.sleep(2)
        assert not function.cache_contains()
        assert await function() == 2
        await function.cache_close()

    loop = Virtual()
    loop.run_until_complete(asyncio.wait_for(main(), 1000))
    loop.close()


@on_clock
async def test_many_that_expire_at_once_do_not_block_the_loop(
    clock: ClockLoop, timed: Decorate
) -> None:
    """They are removed a few milliseconds at a time, and not served meanwhile."""
    many = 1000
    function = timed(identity, maxsize=None, ttl=10)
    for key in range(many):
        await function(key)
    clock.now += 10
    await turns(1)  # in which the loop notices that the timer is due
    left = [many]
    while left[-1]:
        assert not function.cache_contains(many - 1)
        await turns(1)
        left.append(function.cache_info().currsize)
    steps = [before - after for before, after in zip(left, left[1:])]
    assert timers(clock) == []
    assert len(steps) > 10
    # At least 64, so that slow machines make progress as well; then three milliseconds' worth.
    assert set(steps[:-1]) == {67}


@on_clock
async def test_an_invalidation_as_the_timer_fires_expires_nothing_early(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """It makes another entry the first to expire."""
    function = timed(ttl=float)
    for ttl in 5, 10, 1000:
        await settled(source, function(str(ttl)), str(ttl))
    clock.now += 5
    await asyncio.sleep(0)  # the timer is due: it fires next
    again = function("5")
    again.send(None)  # finds the first expired, and removes it
    function.cache_invalidate("10")
    await turns()
    assert function.cache_contains("1000")
    again.close()
    await turns()


@on_clock
async def test_many_that_expire_at_once_by_the_loops_own_clock(
    clock: ClockLoop, timed: Decorate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ``time.monotonic()`` they have not expired, so they are removed at once."""
    function = timed(identity, maxsize=None, ttl=10)
    for key in range(1000):
        await function(key)
    monkeypatch.setattr(clock, "time", lambda: clock.now + 10)
    await turns(2)
    assert not function.cache_contains(999)
    assert function.cache_info().currsize == 0
    assert timers(clock) == []


@on_clock
async def test_ttl_zero_shares_the_work_and_keeps_nothing(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(ttl=0)
    callers = await begin(function(1), function(1))
    source.works[0].set_result("x")
    assert await asyncio.gather(*callers) == ["x", "x"]
    assert not function.cache_contains(1)
    (again,) = await begin(function(1))
    source.works[1].set_result("y")
    assert await again == "y"
    await turns()
    assert function.cache_info() == (1, 2, 128, 0)


@pytest.mark.parametrize("ttl", [float("inf"), 1e300])
async def test_ttl_without_end(cached: Decorate, ttl: float) -> None:
    function = cached(Counter().call, ttl=ttl)
    assert [await function(), await function()] == [1, 1]


@on_clock
async def test_jitter_is_drawn_per_entry(
    clock: ClockLoop, timed: Decorate, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: List[Tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high * (len(drawn) - 1)

    monkeypatch.setattr(random, "uniform", uniform)
    function = timed(identity, ttl=3, jitter=30)
    await function(1)
    await function(2)
    assert drawn == [(0, 30)] * 2
    clock.now += 3
    assert [function.cache_contains(x) for x in (1, 2)] == [False, True]
    clock.now += 30
    assert not function.cache_contains(2)


@pytest.mark.parametrize("how", ["clear", "invalidate", "evict", "close", "expire"])
@on_clock
async def test_no_timer_outlives_its_entry(
    clock: ClockLoop, timed: Decorate, how: str
) -> None:
    function = timed(identity, maxsize=1, ttl=5)
    await function(1)
    assert len(timers(clock)) == 1
    if how == "clear":
        function.cache_clear()
    elif how == "invalidate":
        function.cache_invalidate(1)
    elif how == "evict":
        await function(2)
        assert len(timers(clock)) == 1
        function.cache_clear()
    elif how == "close":
        await function.cache_close()
        assert function.cache_info().currsize == 1
    else:
        clock.now += 5
        await turns(1)  # in which the loop notices that the timer is due
    await turns(1)
    assert timers(clock) == []


@on_clock
async def test_no_timer_for_an_entry_that_was_invalidated_before_the_last_one_expired(
    clock: ClockLoop, timed: Decorate
) -> None:
    function = timed(identity, ttl=lambda seconds: seconds)
    await function(10)
    await function(20)
    assert function.cache_invalidate(20)
    clock.now += 10
    await turns()
    assert function.cache_info().currsize == 0
    assert timers(clock) == []


async def test_one_timer_for_all_entries(cached: Decorate) -> None:
    function = cached(identity, ttl=1000)
    loop = asyncio.get_running_loop()
    for x in range(10):
        await function(x)
        assert len(timers(loop)) == 1
    for x in range(10):
        assert len(timers(loop)) == 1
        function.cache_invalidate(x)
    await turns(1)
    assert timers(loop) == []


@on_clock
async def test_no_timer_for_an_entry_that_was_invalidated_behind_another(
    clock: ClockLoop, timed: Decorate
) -> None:
    function = timed(identity, ttl=10)
    await function(1)
    clock.now += 9
    await function(2)
    function.cache_invalidate(2)  # 1 is the next to expire, and keeps the timer
    await turns()
    clock.now += 1
    await turns()
    assert function.cache_info().currsize == 0
    assert timers(clock) == []


@pytest.mark.parametrize("invalidated", [0, 50, 90])
def test_each_entry_expires_at_its_own_time(invalidated: int) -> None:
    """However many entries are invalidated before, and in whatever order the others expire."""
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


@on_clock
async def test_a_timer_may_be_early_by_the_clocks_resolution(
    clock: ClockLoop, timed: Decorate
) -> None:
    clock._clock_resolution = 0.1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    function = timed(identity, ttl=5)
    await function(1)
    clock.now += 4.95
    await turns()
    assert function.cache_info().currsize == 0
    assert timers(clock) == []


@on_clock
async def test_what_is_invalidated_does_not_pile_up_though_much_has_expired(
    clock: ClockLoop, timed: Decorate
) -> None:
    """Each time that an entry expires, the one that would be next has been invalidated."""
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
    before = objects()
    for x in range(2000, 2100):
        await function(x)
        assert function.cache_invalidate(x)
    assert objects() < before + 50


def test_uvloop() -> None:
    """Its clock stands still during a callback; the library's clock does not."""
    uvloop = pytest.importorskip("uvloop")
    ttl = 1.0
    function = alru_cache(ttl=ttl)(Counter().call)

    def block() -> None:
        time.sleep(ttl)

    async def main() -> None:
        first = await function()
        block()
        assert not function.cache_contains()
        second = await function()
        assert second == first + 1
        while function.cache_info().currsize:  # the entry expires by itself as well
            await turns()
        await function.cache_close()

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@on_clock
async def test_an_age_as_a_timedelta(clock: ClockLoop, timed: Decorate) -> None:
    function = timed(this_loop, ttl=timedelta(minutes=1), refresh=timedelta(seconds=10))
    await function(1)
    for age, tasks in (9, 0), (10, 1):
        clock.now = 1000 + age
        assert at_once(function(1)) is clock
        assert function.cache_parameters()["tasks"] == tasks
        await turns()
