"""Contract 7: what a ``ttl`` function may answer."""

import asyncio
import fractions
import functools
import math
import random
import re
import weakref
from datetime import timedelta
from typing import Any, List, Tuple
from unittest import mock

import pytest

from .helpers import (
    ClockLoop,
    Decorate,
    Source,
    Thing,
    Ttl,
    begin,
    collect,
    identity,
    on_clock,
    this_loop,
    timers,
    turns,
)


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


@pytest.mark.parametrize(
    "ttl", [abs, Ttl(5), Ttl(5).__call__, functools.partial(lambda x, y: x, 5), int]
)
@on_clock
async def test_any_other_callable_will_do(clock: ClockLoop, timed: Decorate, ttl: Any) -> None:
    function = timed(identity, ttl=ttl)
    await function(5)
    clock.now += 4
    assert function.cache_contains(5)
    clock.now += 1
    assert not function.cache_contains(5)


# What it says


@pytest.mark.parametrize(
    "answer",
    [5, 5.0, fractions.Fraction(10, 2), timedelta(seconds=5)],
    ids=lambda answer: type(answer).__name__,
)
@on_clock
async def test_seconds_from_now(
    clock: ClockLoop, source: Source, timed: Decorate, answer: Any
) -> None:
    function = timed(ttl=Ttl(answer))
    (caller,) = await begin(function())
    clock.now += 100
    source.works[0].set_result("x")
    assert await caller == "x"
    assert len(timers(clock)) == 1
    clock.now += 4.999
    assert await function() == "x"
    clock.now += 0.001
    assert not function.cache_contains()
    await turns()
    assert function.cache_info() == (1, 1, 128, 0)
    assert timers(clock) == []


@on_clock
async def test_seconds_from_when_it_answers(clock: ClockLoop, timed: Decorate) -> None:
    """The function may take its time."""
    ttl = Ttl(5)

    def take_time() -> None:
        clock.now += 3

    ttl.does = take_time
    function = timed(identity, ttl=ttl)
    await function(1)
    clock.now += 4
    assert function.cache_contains(1)
    clock.now += 1
    assert not function.cache_contains(1)


@on_clock
async def test_each_result_its_own(clock: ClockLoop, timed: Decorate) -> None:
    function = timed(identity, ttl=lambda result: result)
    for seconds in 30, 10, 20, 40:
        await function(seconds)
    for passed in 10, 20, 30, 40:
        clock.now += 9
        assert function.cache_contains(passed)
        clock.now += 1
        assert not function.cache_contains(passed)
        await turns()
        assert function.cache_info().currsize == 4 - passed // 10


@pytest.mark.parametrize("answer", [None, math.inf])
@on_clock
async def test_for_ever(clock: ClockLoop, timed: Decorate, answer: Any) -> None:
    ttl = Ttl(answer)
    function = timed(identity, ttl=ttl, jitter=5)
    with mock.patch("random.uniform") as uniform:
        await function(1)
    assert not uniform.called
    assert timers(clock) == []
    clock.now += 1e12
    assert await function(1) == 1
    assert function.cache_info() == (1, 1, 128, 1)
    assert ttl.results == [1]
    assert function.cache_invalidate(1)
    assert function.cache_info().currsize == 0


@on_clock
async def test_one_kept_for_ever_costs_no_look_at_the_clock(
    clock: ClockLoop, timed: Decorate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a hit is as cheap as one without ``ttl``."""
    function = timed(identity, ttl=lambda seconds: seconds or None)
    await function(0)
    await function(1)

    def look() -> float:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("async_lru._regimes.monotonic", look)
        await function(0)
        with pytest.raises(AssertionError):
            await function(1)


@pytest.mark.parametrize(
    "answer",
    [0, 0.0, -0.0, -1, -math.inf, fractions.Fraction(-1, 2), timedelta(0), timedelta(-1)],
)
@on_clock
async def test_not_at_all(
    clock: ClockLoop, source: Source, timed: Decorate, answer: Any
) -> None:
    """Every caller who waits gets the result, and the next call is a miss."""
    function = timed(ttl=Ttl(answer), jitter=5)
    callers = await begin(*[function() for _ in range(3)])
    with mock.patch("random.uniform") as uniform:
        source.works[0].set_result("x")
        assert await asyncio.gather(*callers) == ["x"] * 3
    assert not uniform.called
    assert not function.cache_contains()
    assert function.cache_info() == (2, 1, 128, 0)
    assert timers(clock) == []
    (again,) = await begin(function())
    assert len(source.works) == 2
    source.works[1].set_result("y")
    assert await again == "y"
    assert function.cache_info() == (2, 2, 128, 0)


@on_clock
async def test_what_is_not_kept_is_released(
    clock: ClockLoop, timed: Decorate, no_collector: None
) -> None:
    async def thing() -> Thing:
        return Thing()

    function = timed(thing, ttl=lambda _: 0)
    gone = weakref.ref(await function())
    await turns()
    collect()
    assert gone() is None


@on_clock
async def test_found_and_not_found(clock: ClockLoop, timed: Decorate) -> None:
    """A common use: falsy results are not kept."""
    function = timed(identity, ttl=lambda found: 0.5 if found else 0)
    for x in None, 0, "x":
        await function(x)
        assert function.cache_contains(x) == bool(x)


# Answers that are none

BAD_ANSWER = (
    r"Source\.fetch: the result of ttl\(\) "
    r"(must be a number of seconds, a timedelta or None, got .+|is too large for a float)"
)


class Number:
    """Converts to a number, and is none."""

    def __float__(self) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("5", TypeError),
        (True, TypeError),
        (False, TypeError),
        (5j, TypeError),
        (Number(), TypeError),
        ((), TypeError),
        (math.nan, ValueError),
        (10**400, ValueError),
        (-(10**400), ValueError),
        (fractions.Fraction(10**400), ValueError),
    ],
    ids=lambda x: getattr(x, "__name__", None) or type(x).__name__,
)
@on_clock
async def test_a_bad_answer_goes_to_the_callers(
    clock: ClockLoop, source: Source, timed: Decorate, answer: Any, error: Any
) -> None:
    """Every caller receives the error, and nothing is kept."""
    function = timed(ttl=Ttl(answer))
    callers = await begin(*[function() for _ in range(3)])
    source.works[0].set_result("x")
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(outcome, error)
        assert re.fullmatch(BAD_ANSWER, str(outcome))
    assert not function.cache_contains()
    assert function.cache_info() == (2, 1, 128, 0)
    assert timers(clock) == []
    assert function.cache_parameters()["tasks"] == 0


# Jitter


@on_clock
async def test_jitter_on_positive_finite_answers_only(
    clock: ClockLoop, timed: Decorate, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: List[Tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 2

    monkeypatch.setattr(random, "uniform", uniform)
    answers = {"ever": None, "inf": math.inf, "zero": 0, "below": -1, "ten": 10}
    function = timed(identity, ttl=lambda result: answers[result], jitter=20)
    for result in answers:
        await function(result)
        assert drawn == ([(0, 20)] if result == "ten" else [])
    clock.now += 19
    assert function.cache_contains("ten")
    clock.now += 1
    assert not function.cache_contains("ten")
    assert [x for x in answers if function.cache_contains(x)] == ["ever", "inf"]
