"""Contract 7: ``ttl`` as a function of the result."""

import asyncio
import contextvars
import sys
import threading
from typing import Any, Dict, List, Tuple
from unittest import mock

import pytest

from .helpers import (
    ClockLoop,
    Decorate,
    Source,
    Ttl,
    begin,
    identity,
    on_clock,
    timers,
    turns,
)


@on_clock
async def test_what_it_raises_goes_to_the_callers(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """As the function's own failure: nothing is kept or logged, and the next call runs."""
    error = KeyError("expires_in")
    ttl = Ttl(error, 5)
    function = timed(ttl=ttl)
    callers = await begin(*[function() for _ in range(3)])
    source.works[0].set_result("x")
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert all(outcome is error for outcome in outcomes)
    assert not function.cache_contains()
    (again,) = await begin(function())
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
    """The result of a run that swallows its cancellation is not kept: nobody asks ``ttl``."""
    ttl = Ttl(KeyError())

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "x"
        raise AssertionError

    function = timed(stubborn, ttl=ttl)
    (caller,) = await begin(function())
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
    """It becomes a RuntimeError, as in a coroutine (PEP 479)."""
    function = timed(ttl=Ttl(error("value"), 5))
    callers = await begin(*[function() for _ in range(2)])
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
    callers = await begin(*[function() for _ in range(2)])
    source.works[0].set_result("x")
    await turns()
    assert all(caller.cancelled() for caller in callers)
    assert not function.cache_contains()
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_that_it_raises(clock: ClockLoop, timed: Decorate, error: Any) -> None:
    """It leaves the event loop, and leaves it again when the caller receives it."""

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
    callers = await begin(*[function(1) for _ in range(3)])
    assert ttl.results == []
    source.works[0].set_result("x")
    await asyncio.gather(*callers)
    for _ in range(3):
        await function(1)
        function.cache_contains(1)
        function.cache_info()
    assert ttl.results == ["x"]
    clock.now += 5
    (caller,) = await begin(function(1))
    source.works[1].set_result("y")
    await caller
    assert ttl.results == ["x", "y"]


@on_clock
async def test_not_for_exceptions(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    ttl = Ttl(5)
    function = timed(ttl=ttl)
    (caller,) = await begin(function())
    source.works[0].set_exception(ValueError("down"))
    with pytest.raises(ValueError, match="down"):
        await caller
    (caller,) = await begin(function())
    source.works[1].cancel()
    await turns()
    assert caller.cancelled()
    assert ttl.results == []


@pytest.mark.parametrize("newer", [False, True], ids=["", "newer"])
@pytest.mark.parametrize("how", ["invalidate", "clear", "evict"])
@on_clock
async def test_not_if_its_entry_is_removed(
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
    """In its last step, which may be its first as well."""
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
        clock.set_task_factory(request.getfixturevalue("eager_somehow"))
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
    # Below 3.12 it is a copy of the context that the call began in.
    changed = " and the work" if sys.version_info >= (3, 12) else ""
    assert seen == [(f"first caller{changed}", threading.get_ident())]


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

    callers = await begin(*[call(name) for name in ("first", "second")])
    source.works[0].set_result("x")
    await asyncio.gather(*callers)
    assert order == ["ttl", "first", "second"]


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@pytest.mark.parametrize("answer", [5, None, 0])
@on_clock
async def test_it_may_itself_drop_the_entry(
    clock: ClockLoop, source: Source, timed: Decorate, how: str, answer: Any
) -> None:
    """Then nothing is kept, and the callers get the result."""
    ttl = Ttl(answer)
    function = timed(ttl=ttl)

    def drop() -> None:
        if how == "clear":
            function.cache_clear()
        else:
            assert function.cache_invalidate(1)
        assert not function.cache_contains(1)

    ttl.does = drop
    callers = await begin(*[function(1) for _ in range(2)])
    source.works[0].set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 2
    assert not function.cache_contains(1)
    assert function.cache_info() == ((0, 0, 128, 0) if how == "clear" else (1, 1, 128, 0))
    await turns()
    assert timers(clock) == []
    ttl.does = lambda: None
    (caller,) = await begin(function(1))
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


@pytest.mark.parametrize("is_eager", [False, True], ids=["", "eager"])
@on_clock
async def test_it_may_start_a_call(
    clock: ClockLoop, source: Source, timed: Decorate, is_eager: bool, request: Any
) -> None:
    """A call with the same key joins the one that is about to end."""
    if is_eager:
        clock.set_task_factory(request.getfixturevalue("eager_somehow"))
    ttl = Ttl(5)
    function = timed(ttl=ttl)
    started: List["asyncio.Future[Any]"] = []
    ttl.does = lambda: started.append(clock.create_task(function(1)))
    (caller,) = await begin(function(1))
    source.works[0].set_result("x")
    assert await caller == "x"
    assert await started[0] == "x"
    assert function.cache_info() == (1, 1, 128, 1)


@on_clock
async def test_it_may_have_another_result_take_its_place(
    clock: ClockLoop, timed: Decorate, eager_somehow: Any
) -> None:
    """The other result stays, even if it is equal to everything."""
    ttl = Ttl(None, 5)
    results = ["first", mock.ANY]

    async def fetch() -> Any:
        return results.pop(0)

    function = timed(fetch, ttl=ttl, key=lambda: None)
    clock.set_task_factory(eager_somehow)

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
    clock: ClockLoop, timed: Decorate, eager_somehow: Any, options: Any, answer: Any
) -> None:
    """By a call that it starts. Its answer has no effect then."""
    ttl = Ttl(answer)
    function = timed(identity, ttl=ttl, maxsize=1, **options)
    clock.set_task_factory(eager_somehow)

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
async def test_the_last_caller_leaves_meanwhile(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """As if the caller had left just before or just after: nobody hangs."""
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
    (caller,) = await begin(function(1))
    for work in source.works[1:]:
        work.set_result("x")
    assert await caller == "x"


# Methods


@on_clock
async def test_a_method(clock: ClockLoop, timed: Decorate) -> None:
    """The ``ttl`` function gets the result, and not the instance."""
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
