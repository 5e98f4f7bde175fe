"""Contract 7: ``ttl`` as a function of the result."""

import asyncio
import contextvars
import fractions
import functools
import math
import random
import sys
import threading
import weakref
from typing import Any, Dict, List, Tuple
from unittest import mock

import pytest

from async_lru import alru_cache

from .helpers import (
    ClockLoop,
    Decorate,
    Source,
    Thing,
    collect,
    identity,
    on_clock,
    timers,
    turns,
)

Logged = List[Dict[str, Any]]


class Ttl:
    """A ``ttl`` function that says, and does, what the test says."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.results: List[Any] = []
        self.does: Any = lambda: None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        assert not kwargs
        (result,) = args  # alone
        self.results.append(result)
        self.does()
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


# What may be given


async def coroutine_function(result: object) -> float:
    return 1


class AsyncCall:
    async def __call__(self, result: object) -> float:
        return 1

    async def method(self, result: object) -> float:
        return 1

    cached = alru_cache(method)
    of_its_own = alru_cache(per_instance=True)(method)


@pytest.mark.parametrize("option", ["ttl", "key"])
@pytest.mark.parametrize(
    "function",
    [
        coroutine_function,
        functools.partial(coroutine_function, 1),
        functools.partial(functools.partial(AsyncCall()), 1),
        AsyncCall(),
        AsyncCall().method,
        alru_cache(coroutine_function),
        AsyncCall().cached,
        AsyncCall().of_its_own,
    ],
    ids=lambda function: type(function).__name__,
)
def test_a_coroutine_function_is_refused(option: str, function: Any) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a plain function"):
        alru_cache(**{option: function})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ttl": "5"}, TypeError, "ttl must be a number of seconds"),
        ({"ttl": 5j}, TypeError, "ttl must be a number of seconds"),
        ({"ttl": []}, TypeError, "ttl must be a number of seconds"),
        ({"ttl": math.nan}, ValueError, "ttl"),
        ({"ttl": -1}, ValueError, "ttl must be non-negative"),
        ({"ttl": 10**400}, ValueError, "ttl is too large for a float"),
        ({"ttl": abs, "jitter": -1}, ValueError, "jitter must be non-negative"),
        ({"ttl": abs, "jitter": "1"}, TypeError, "jitter must be a number of seconds"),
        ({"ttl": abs, "jitter": math.nan}, ValueError, "jitter"),
        ({"ttl": abs, "jitter": 10**400}, ValueError, "jitter is too large for a float"),
    ],
)
def test_options_that_make_no_sense(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        alru_cache(**options)


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
    "answer", [5, 5.0, fractions.Fraction(10, 2)], ids=lambda answer: type(answer).__name__
)
@on_clock
async def test_seconds_from_now(
    clock: ClockLoop, source: Source, timed: Decorate, answer: Any
) -> None:
    function = timed(ttl=Ttl(answer))
    caller = asyncio.ensure_future(function())
    await turns()
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
async def test_less_than_a_second(clock: ClockLoop, timed: Decorate) -> None:
    function = timed(identity, ttl=Ttl(0.5))
    await function(1)
    clock.now += 0.4
    assert function.cache_contains(1)
    clock.now += 0.1
    assert not function.cache_contains(1)


@on_clock
async def test_seconds_from_when_it_says_so(clock: ClockLoop, timed: Decorate) -> None:
    """Not from before: it may take its time."""
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
    """It is as cheap as one without ``ttl``."""
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


@pytest.mark.parametrize("answer", [0, 0.0, -0.0, -1, -math.inf, fractions.Fraction(-1, 2)])
@on_clock
async def test_not_at_all(
    clock: ClockLoop, source: Source, timed: Decorate, answer: Any
) -> None:
    """Every caller waiting gets the result, the next call is a miss."""
    function = timed(ttl=Ttl(answer), jitter=5)
    callers = [asyncio.ensure_future(function()) for _ in range(3)]
    await turns()
    with mock.patch("random.uniform") as uniform:
        source.works[0].set_result("x")
        assert await asyncio.gather(*callers) == ["x"] * 3
    assert not uniform.called
    assert not function.cache_contains()
    assert function.cache_info() == (2, 1, 128, 0)
    assert timers(clock) == []
    again = asyncio.ensure_future(function())
    await turns()
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
    """The use that it is for: what is falsy is not kept."""
    function = timed(identity, ttl=lambda found: 60 if found else 0)
    for x in None, 0, "x":
        await function(x)
        assert function.cache_contains(x) == bool(x)


# Answers that are none


class Number:
    """Not a number, though it converts."""

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
    """And nothing is kept."""
    function = timed(ttl=Ttl(answer))
    callers = [asyncio.ensure_future(function()) for _ in range(3)]
    await turns()
    source.works[0].set_result("x")
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(outcome, error)
        assert str(outcome).startswith("Source.fetch: ttl() returned ")
        assert str(outcome).endswith(
            " It must return a number of seconds, a timedelta or None."
        )
    assert not function.cache_contains()
    assert function.cache_info() == (2, 1, 128, 0)
    assert timers(clock) == []
    assert function.cache_parameters()["tasks"] == 0


@on_clock
async def test_a_bool_is_no_number(clock: ClockLoop, timed: Decorate) -> None:
    function = timed(identity, ttl=lambda result: result is not None)
    with pytest.raises(TypeError, match="True"):
        await function(1)
    with pytest.raises(TypeError, match="False"):
        await function(None)


@on_clock
async def test_what_it_raises_goes_to_the_callers(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """As the function's own failure would: nothing is kept, nor logged; the next call runs."""
    error = KeyError("expires_in")
    ttl = Ttl(error, 5)
    function = timed(ttl=ttl)
    callers = [asyncio.ensure_future(function()) for _ in range(3)]
    await turns()
    source.works[0].set_result("x")
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert all(outcome is error for outcome in outcomes)
    assert not function.cache_contains()
    again = asyncio.ensure_future(function())
    await turns()
    source.works[1].set_result("y")
    assert await again == "y"
    assert await function() == "y"
    assert ttl.results == ["x", "y"]
    assert function.cache_info() == (3, 2, 128, 1)


@on_clock
async def test_its_traceback_leads_to_its_line(clock: ClockLoop, timed: Decorate) -> None:
    def ttl(result: Dict[str, float]) -> float:
        return result["expires_in"]

    async def token() -> Dict[str, float]:
        return {}

    with pytest.raises(KeyError) as raised:
        await timed(token, ttl=ttl)()
    assert raised.traceback[-1].name == "ttl"
    assert raised.value.__context__ is None


@on_clock
async def test_its_context_is_kept(clock: ClockLoop, timed: Decorate) -> None:
    def ttl(result: object) -> float:
        try:
            return 1 / 0
        except ZeroDivisionError:
            raise ValueError("how long?")  # noqa: B904  # the context is what is tested

    with pytest.raises(ValueError, match="how long") as raised:
        await timed(identity, ttl=ttl)(1)
    assert isinstance(raised.value.__context__, ZeroDivisionError)


@on_clock
async def test_nobody_left_to_receive_what_it_raises(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """The last caller has gone, the work swallows that: its result is not to be kept."""
    ttl = Ttl(KeyError())

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "x"
        raise AssertionError

    function = timed(stubborn, ttl=ttl)
    caller = asyncio.ensure_future(function())
    await turns()
    caller.cancel()
    await turns()
    assert caller.cancelled()
    assert ttl.results == []
    assert function.cache_parameters()["tasks"] == 0


class SubclassedStop(StopIteration):
    pass


@pytest.mark.parametrize("error", [StopIteration, SubclassedStop])
@on_clock
async def test_stop_iteration(
    clock: ClockLoop, source: Source, timed: Decorate, error: Any
) -> None:
    """A coroutine that raises one ends with a RuntimeError, by PEP 479."""
    function = timed(ttl=Ttl(error("value"), 5))
    callers = [asyncio.ensure_future(function()) for _ in range(2)]
    await turns()
    source.works[0].set_result("x")
    await turns()
    done = [caller.done() for caller in callers]
    for caller in callers:
        caller.cancel()
    assert done == [True, True]
    for caller in callers:
        with pytest.raises(RuntimeError) as raised:
            await caller
        assert isinstance(raised.value.__cause__, error)
    assert not function.cache_contains()
    assert function.cache_parameters()["tasks"] == 0


@on_clock
async def test_a_cancellation_that_it_raises(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    function = timed(ttl=Ttl(asyncio.CancelledError()))
    callers = [asyncio.ensure_future(function()) for _ in range(2)]
    await turns()
    source.works[0].set_result("x")
    await turns()
    assert all(caller.cancelled() for caller in callers)
    assert not function.cache_contains()
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_that_it_raises(clock: ClockLoop, timed: Decorate, error: Any) -> None:
    """It leaves the loop, as those do; then it is the caller's, whom it leaves by as well."""

    async def suspends(x: int) -> int:
        await asyncio.sleep(0)
        return x

    function = timed(suspends, ttl=Ttl(error()))
    caller = clock.create_task(function(1))
    for _ in range(2):
        with pytest.raises(error):
            clock.run_until_complete(turns())
    assert type(caller.exception()) is error
    assert function.cache_info().currsize == 0
    assert function.cache_parameters()["tasks"] == 0


# When it is called


@on_clock
async def test_once_for_each_result(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    ttl = Ttl(5)
    function = timed(ttl=ttl)
    callers = [asyncio.ensure_future(function(1)) for _ in range(3)]
    await turns()
    assert ttl.results == []
    source.works[0].set_result("x")
    await asyncio.gather(*callers)
    for _ in range(3):
        await function(1)
        function.cache_contains(1)
        function.cache_info()
    assert ttl.results == ["x"]
    clock.now += 5
    caller = asyncio.ensure_future(function(1))
    await turns()
    source.works[1].set_result("y")
    await caller
    assert ttl.results == ["x", "y"]


@on_clock
async def test_not_for_exceptions(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    ttl = Ttl(5)
    function = timed(ttl=ttl)
    caller = asyncio.ensure_future(function())
    await turns()
    source.works[0].set_exception(ValueError("down"))
    with pytest.raises(ValueError, match="down"):
        await caller
    caller = asyncio.ensure_future(function())
    await turns()
    source.works[1].cancel()
    await turns()
    assert caller.cancelled()
    assert ttl.results == []


@pytest.mark.parametrize("newer", [False, True], ids=["", "newer"])
@pytest.mark.parametrize("how", ["invalidate", "clear", "evict"])
@on_clock
async def test_not_if_its_entry_has_gone(
    clock: ClockLoop, source: Source, timed: Decorate, how: str, newer: bool
) -> None:
    ttl = Ttl(5)
    function = timed(ttl=ttl, maxsize=1)
    callers = [asyncio.ensure_future(function(1))]
    await turns()
    if how == "invalidate":
        function.cache_invalidate(1)
    elif how == "clear":
        function.cache_clear()
    else:
        callers.append(asyncio.ensure_future(function(2)))
        await turns()
    if newer:
        callers.append(asyncio.ensure_future(function(1)))
        await turns()
    source.works[0].set_result("x")
    assert await callers[0] == "x"
    assert ttl.results == []
    for work in source.works[1:]:
        work.set_result("y")
    await asyncio.gather(*callers)
    assert ttl.results == ["y"] * (how == "evict" or newer)


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@pytest.mark.parametrize("at_once", [False, True])
@on_clock
async def test_not_if_the_work_itself_drops_its_entry(
    clock: ClockLoop, timed: Decorate, request: Any, how: str, at_once: bool
) -> None:
    """In its last step; also if that is its first, and its caller still holds the cache."""
    ttl = Ttl(5)

    async def fetch() -> str:
        if not at_once:
            await asyncio.sleep(0)
        if how == "clear":
            cached.cache_clear()
        else:
            assert cached.cache_invalidate()
        return "x"

    cached: Any = timed(fetch, ttl=ttl)
    if at_once:
        clock.set_task_factory(request.getfixturevalue("eager"))
    assert await cached() == "x"
    assert ttl.results == []
    assert not cached.cache_contains()


@on_clock
async def test_not_with_maxsize_zero(clock: ClockLoop, timed: Decorate) -> None:
    ttl = Ttl(5)
    function = timed(identity, ttl=ttl, maxsize=0)
    assert await function(1) == 1
    assert ttl.results == []
    assert function.cache_info() == (0, 1, 0, 0)


@on_clock
async def test_in_the_calls_own_context(clock: ClockLoop, timed: Decorate) -> None:
    variable: "contextvars.ContextVar[str]" = contextvars.ContextVar("variable", default="")
    seen: List[Tuple[str, int]] = []

    async def fetch() -> str:
        variable.set(variable.get() + " and the work")
        await asyncio.sleep(0)
        return "x"

    def look() -> None:
        seen.append((variable.get(), threading.get_ident()))
        variable.set("the ttl function")

    ttl = Ttl(5)
    ttl.does = look
    function: Any = timed(fetch, ttl=ttl)

    async def call(name: str) -> None:
        variable.set(name)
        await function()
        assert variable.get() == name

    await asyncio.gather(call("first caller"), call("second caller"))
    # Below 3.12 it is the context that the call began in.
    changed = " and the work" if sys.version_info >= (3, 12) else ""
    assert seen == [(f"first caller{changed}", threading.get_ident())]


def test_in_the_loops_thread() -> None:
    threads: List[int] = []
    ttl = Ttl(5)
    ttl.does = lambda: threads.append(threading.get_ident())
    function: Any = alru_cache(ttl=ttl)(identity)

    def run() -> None:
        async def main() -> None:
            await function(1)
            await function.cache_close()

        asyncio.run(main())
        threads.append(threading.get_ident())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(threads) == 2
    assert threads[0] == threads[1]


@on_clock
async def test_before_the_callers_wake(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    order: List[str] = []
    ttl = Ttl(5)
    ttl.does = lambda: order.append("ttl")
    function = timed(ttl=ttl)

    async def call(name: str) -> None:
        await function()
        order.append(name)

    callers = [asyncio.ensure_future(call(name)) for name in ("first", "second")]
    await turns()
    source.works[0].set_result("x")
    await asyncio.gather(*callers)
    assert order == ["ttl", "first", "second"]


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@pytest.mark.parametrize("answer", [5, None, 0])
@on_clock
async def test_it_may_itself_drop_the_entry(
    clock: ClockLoop, source: Source, timed: Decorate, how: str, answer: Any
) -> None:
    """Then nothing is kept, and the callers have the result."""
    ttl = Ttl(answer)
    function = timed(ttl=ttl)

    def drop() -> None:
        if how == "clear":
            function.cache_clear()
        else:
            assert function.cache_invalidate(1)
        assert not function.cache_contains(1)

    ttl.does = drop
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    await turns()
    source.works[0].set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 2
    assert not function.cache_contains(1)
    assert function.cache_info() == ((0, 0, 128, 0) if how == "clear" else (1, 1, 128, 0))
    await turns()
    assert timers(clock) == []
    ttl.does = lambda: None
    caller = asyncio.ensure_future(function(1))
    await turns()
    source.works[1].set_result("y")
    assert await caller == "y"
    assert function.cache_contains(1) == (answer != 0)


@on_clock
async def test_it_may_drop_the_others(clock: ClockLoop, timed: Decorate) -> None:
    ttl = Ttl(5)
    function = timed(identity, ttl=ttl)
    await function(1)
    await function(2)
    ttl.does = lambda: function.cache_invalidate(1)
    await function(3)
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [False, True, True]
    await turns()
    assert len(timers(clock)) == 1


@on_clock
async def test_one_that_expires_before_an_earlier_one(clock: ClockLoop) -> None:
    function: Any = alru_cache(ttl=lambda seconds: seconds)(identity)
    for seconds in 100, 50, 10:
        await function(seconds)
    for now, left in (10, 2), (50, 1), (100, 0):
        clock.now = 1000.0 + now
        await turns()
        assert function.cache_info().currsize == left
        assert len(timers(clock)) == (left > 0)


@on_clock
async def test_it_may_start_a_call(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    """Of the same key: that joins the one that is about to end."""
    ttl = Ttl(5)
    function = timed(ttl=ttl)
    started: List["asyncio.Future[Any]"] = []
    ttl.does = lambda: started.append(asyncio.ensure_future(function(1)))
    caller = asyncio.ensure_future(function(1))
    await turns()
    source.works[0].set_result("x")
    assert await caller == "x"
    assert await started[0] == "x"
    assert function.cache_info() == (1, 1, 128, 1)


@on_clock
async def test_it_may_start_a_call_eagerly(
    clock: ClockLoop, source: Source, timed: Decorate, eager: Any
) -> None:
    clock.set_task_factory(eager)
    ttl = Ttl(5)
    function = timed(ttl=ttl)
    started: List["asyncio.Future[Any]"] = []
    ttl.does = lambda: started.append(clock.create_task(function(1)))
    caller = asyncio.ensure_future(function(1))
    await turns()
    source.works[0].set_result("x")
    assert await caller == "x"
    assert await started[0] == "x"
    assert function.cache_info() == (1, 1, 128, 1)


@on_clock
async def test_it_may_have_another_result_take_its_place(
    clock: ClockLoop, timed: Decorate, eager: Any
) -> None:
    """That stays, were it equal to everything. (Of the entry's own key nothing is left.)"""
    ttl = Ttl(None, 5)
    results = ["first", mock.ANY]

    async def fetch() -> Any:
        return results.pop(0)

    function = timed(fetch, ttl=ttl, key=lambda: None)
    clock.set_task_factory(eager)

    def replace() -> None:
        ttl.does = lambda: None
        function.cache_invalidate()
        clock.create_task(function())

    ttl.does = replace
    assert await function() == "first"
    assert ttl.results == ["first", mock.ANY]
    assert await function() is mock.ANY
    assert timers(clock) == []


@pytest.mark.parametrize("options", [{}, {"refresh": 2}], ids=["", "refresh"])
@pytest.mark.parametrize("answer", [5, None])
@on_clock
async def test_it_may_evict_the_entry(
    clock: ClockLoop, timed: Decorate, eager: Any, options: Any, answer: Any
) -> None:
    """By a call that it starts; what it says is of no use then."""
    ttl = Ttl(answer)
    function = timed(identity, ttl=ttl, maxsize=1, **options)
    clock.set_task_factory(eager)

    def evict() -> None:
        ttl.does = lambda: None
        clock.create_task(function(2))

    ttl.does = evict
    assert await function(1) == 1
    assert ttl.results == [1, 2]
    assert [function.cache_contains(x) for x in (1, 2)] == [False, True]
    assert function.cache_info() == (0, 2, 1, 1)
    assert len(timers(clock)) == (answer is not None)


@on_clock
async def test_the_last_caller_goes_amid_it(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """As if just before or just after: nobody hangs, and nothing is left half done."""
    ttl = Ttl(5)
    function = timed(ttl=ttl)
    call = function(1)
    call.send(None)
    ttl.does = call.close
    await turns()
    source.works[0].set_result("x")
    await turns()
    assert ttl.results == ["x"]
    assert function.cache_parameters()["tasks"] == 0
    assert function.cache_info().currsize in (0, 1)
    caller = asyncio.ensure_future(function(1))
    await turns()
    for work in source.works[1:]:
        work.set_result("x")
    assert await caller == "x"


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


# Methods


@on_clock
async def test_a_method(clock: ClockLoop, timed: Decorate) -> None:
    """It gets the result, and no instance."""
    ttl = Ttl(5)

    class Client:
        async def get(self, x: int) -> int:
            return x

        cached = timed(get, ttl=ttl)

    client = Client()
    assert await client.cached(1) == 1
    assert ttl.results == [1]
    clock.now += 5
    assert not client.cached.cache_contains(1)
