"""Contract 4: hits, misses, eviction."""

import asyncio
import contextvars
import gc
import logging
import sys
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List
from unittest import mock

import pytest

from async_lru import alru_cache

from .helpers import Decorate, Source, Thing, collect, identity, turns


async def test_first_call_misses_later_ones_hit(cached: Decorate) -> None:
    function = cached(identity)
    assert [await function(1), await function(1), await function(2)] == [1, 1, 2]
    assert function.cache_info() == (1, 2, 128, 2)


@pytest.mark.parametrize("maxsize", [1, None])
async def test_callers_share_the_work_in_flight(
    source: Source, cached: Decorate, maxsize: Any
) -> None:
    function = cached(maxsize=maxsize)
    callers = [asyncio.ensure_future(function(1)) for _ in range(3)]
    await turns()
    assert source.calls == [(1,)]
    assert function.cache_info() == (2, 1, maxsize, 1)
    source.works[0].set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 3


async def test_work_starts_at_once_in_a_task_of_its_own(cached: Decorate) -> None:
    tasks: List[Any] = []

    async def work() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)

    function = cached(work)
    call = function()
    call.send(None)  # the caller has taken one step, and nothing else has run
    assert function.cache_parameters()["tasks"] == 1
    await turns()
    (task,) = tasks
    assert task is not asyncio.current_task()
    with pytest.raises(StopIteration):
        call.send(None)


async def test_work_runs_in_a_copy_of_its_callers_context(cached: Decorate) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def work(x: int) -> str:
        seen = variable.get()
        variable.set("by the work")
        return seen

    variable.set("by the caller")
    assert await cached(work)(1) == "by the caller"
    assert variable.get() == "by the caller"


@pytest.mark.parametrize("ttl", [None, 10])
async def test_least_recently_used_goes(cached: Decorate, ttl: Any) -> None:
    function = cached(identity, maxsize=2, ttl=ttl)
    for x in 1, 2, 1, 3:
        await function(x)
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]
    assert function.cache_info() == (1, 3, 2, 2)


@pytest.mark.parametrize("maxsize", [1, 10, 1000])
async def test_never_more_than_maxsize(cached: Decorate, maxsize: int) -> None:
    function = cached(identity, maxsize=maxsize)
    for x in range(maxsize + 2):
        await function(x)
        assert function.cache_info().currsize == min(x + 1, maxsize)


async def test_a_hit_on_pending_work_makes_it_the_most_recent(
    source: Source, cached: Decorate
) -> None:
    function = cached(maxsize=2)
    callers = [asyncio.ensure_future(function(x)) for x in (1, 2, 1, 3)]
    await turns()
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]
    for work in source.works:
        work.set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 4


async def test_an_evicted_pending_entry_still_serves_its_callers(
    source: Source, cached: Decorate
) -> None:
    function = cached(maxsize=1)
    callers = [asyncio.ensure_future(function(x)) for x in (1, 2)]
    await turns()
    assert function.cache_info().currsize == 1
    for work, result in zip(source.works, "ab"):
        work.set_result(result)
    assert await asyncio.gather(*callers) == ["a", "b"]
    assert not function.cache_contains(1)
    assert function.cache_contains(2)


@pytest.mark.parametrize("ttl", [None, 10])
async def test_unbounded_never_evicts(cached: Decorate, ttl: Any) -> None:
    function = cached(identity, maxsize=None, ttl=ttl)
    for x in range(1000):
        await function(x)
    assert await function(0) == 0
    assert function.cache_info() == (1, 1000, None, 1000)


@pytest.mark.parametrize("maxsize", [0, -1])
async def test_maxsize_zero_stores_and_shares_nothing(
    source: Source, cached: Decorate, maxsize: int
) -> None:
    function = cached(maxsize=maxsize, ttl=10)
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    await turns()
    assert function.cache_parameters()["tasks"] == 2
    assert not function.cache_contains(1)
    for work, result in zip(source.works, "ab"):
        work.set_result(result)
    assert await asyncio.gather(*callers) == ["a", "b"]
    assert function.cache_info() == (0, 2, 0, 0)


@pytest.mark.parametrize("result", [None, False, 0, "", (), mock.ANY], ids=repr)
@pytest.mark.parametrize("ttl", [None, 10])
async def test_any_result_is_cached(cached: Decorate, result: Any, ttl: Any) -> None:
    async def work() -> Any:
        return result

    function = cached(work, ttl=ttl)
    assert await function() is result
    assert await function() is result
    assert function.cache_info().hits == 1


async def test_exceptions_are_not_cached(source: Source, cached: Decorate) -> None:
    function = cached()
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    await turns()
    source.works[0].set_exception(ValueError("no"))
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [repr(result) for result in results] == ["ValueError('no')"] * 2
    assert not function.cache_contains(1)
    again = asyncio.ensure_future(function(1))
    await turns()
    source.works[1].set_result("x")
    assert await again == "x"
    assert function.cache_info() == (1, 2, 128, 1)


async def test_a_call_in_the_turn_of_the_failure_starts_anew(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    loop = asyncio.get_running_loop()
    old = asyncio.ensure_future(function(1))
    await turns()
    new: List[Any] = []

    def call_again() -> None:  # right after the last step of the work, in the same turn
        assert not old.done()
        new.append(function(1))
        new[0].send(None)

    source.works[0].set_exception(ValueError("no"))
    loop.call_soon(call_again)
    with pytest.raises(ValueError, match="no"):
        await old
    await turns()
    assert function.cache_info() == (0, 2, 128, 1)
    assert len(source.works) == 2
    source.works[1].set_result("x")
    await turns()
    with pytest.raises(StopIteration, match="x"):
        new[0].send(None)


@pytest.mark.parametrize("callers", [1, 2, 50])
async def test_every_caller_sees_where_it_failed(cached: Decorate, callers: int) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError

    function = cached(fail)

    async def caller() -> List[str]:
        try:
            return await function()  # type: ignore[no-any-return]
        except ValueError as error:
            return [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    for names in await asyncio.gather(*[caller() for _ in range(callers)]):
        assert names.count("fail") == 1
        assert names[-1] == "fail"
        assert len(names) <= 5  # caller, three frames of ours, fail


async def test_a_received_exception_is_not_logged(
    source: Source, cached: Decorate, caplog: pytest.LogCaptureFixture
) -> None:
    function = cached()
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    await turns()
    source.works.pop().set_exception(ValueError("no"))
    await asyncio.sleep(0)  # the work has failed, and its callers are to be woken
    callers[0].cancel()
    await asyncio.wait(callers)
    with pytest.raises(ValueError, match="no"):
        callers[1].result()
    del callers
    await turns()
    gc.collect()
    assert caplog.records == []


async def test_an_exception_nobody_received_is_logged(
    source: Source, cached: Decorate, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_in_cleanup() -> None:
        try:
            await source.fetch()
        finally:
            raise ValueError("cleanup")

    caller = asyncio.ensure_future(cached(fail_in_cleanup)())
    await turns()
    caller.cancel()
    await turns()
    gc.collect()
    collect()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "exception was never retrieved" in caplog.text
    assert "cleanup" in caplog.text


class SameError(Exception):
    """One that is equal to everything."""

    __hash__ = Exception.__hash__

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize("error", [Exception, SameError])
async def test_an_exception_whose_caller_is_cancelled_as_it_comes_is_logged(
    source: Source, cached: Decorate, caplog: pytest.LogCaptureFixture, error: Any
) -> None:
    caller = asyncio.ensure_future(cached()(1))
    await turns()
    source.works.pop().set_exception(error("no"))
    await asyncio.sleep(0)  # the work has failed, and its caller is to be woken
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    del caller
    await turns()
    gc.collect()
    collect()
    assert "exception was never retrieved" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("ttl", [None, 10])
@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("how", ["evict", "invalidate", "clear"])
async def test_what_is_dropped_is_released(
    cached: Decorate, ttl: Any, others: int, how: str
) -> None:
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
    """As soon as it is evicted: before the work that takes its place is done."""

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
            pool.submit(lambda: loop.run_until_complete(coroutine) and None).result(5)

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
    for x in range(10):
        await function(x)
    gc.collect()
    collect()
    before = len(gc.get_objects())
    for x in range(10, 1010):
        await function(x)
        function.cache_invalidate(x)
    await turns()  # the loop lets go of the timers that were cancelled
    gc.collect()
    collect()
    assert len(gc.get_objects()) < before + 300


class Equal:
    """To its like."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 0


class Meddler(Equal):
    """Uses the cache that has just let go of it."""

    def __init__(self, function: Any, sizes: List[int]) -> None:
        self.function = function
        self.sizes = sizes

    def __del__(self) -> None:
        assert not self.function.cache_contains(self)
        self.function.cache_invalidate("other")  # it is gone for whoever asks from here on
        assert not self.function.cache_contains("other")
        self.sizes.append(self.function.cache_info().currsize)


@pytest.mark.parametrize("ttl", [None, 10])
@pytest.mark.parametrize("is_key", [False, True])
@pytest.mark.parametrize("how", ["evict", "invalidate", "clear", "expire"])
async def test_a_finalizer_may_use_the_cache(
    cached: Decorate, ttl: Any, is_key: bool, how: str
) -> None:
    if how == "expire":
        if ttl is None:
            pytest.skip("nothing expires")
        ttl = 0.02
    sizes: List[int] = []

    async def work(x: Any) -> Any:
        return Meddler(function, sizes) if x == Equal() and not is_key else None

    function = cached(work, maxsize=2, ttl=ttl)
    await function(Meddler(function, sizes) if is_key else Equal())
    await function("other")
    assert function.cache_info().currsize == 2
    assert sizes == []
    if how == "evict":
        await function("one more")
    elif how == "invalidate":
        assert function.cache_invalidate(Equal())
    elif how == "clear":
        function.cache_clear()
    await asyncio.sleep(0.05 if how == "expire" else 0)
    collect()
    if how == "expire":  # "other" may have expired as well, and is the next to go then
        assert sizes in ([0], [1])
    else:
        assert sizes == [int(how == "evict")]  # the new one
    await function("other")
    assert function.cache_contains("other")


async def test_what_expires_is_released(cached: Decorate) -> None:
    function = cached(identity, ttl=0.01)
    thing = Thing()
    reference = weakref.ref(thing)
    await function(thing)
    del thing
    await asyncio.sleep(0.05)
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


async def test_nor_does_one_whose_caller_is_let_go_without_it(
    cached: Decorate, no_collector: None
) -> None:
    """Though the caller was begun by a task that keeps it."""

    async def fail(thing: Thing) -> None:
        await asyncio.sleep(0)
        raise ValueError

    function = cached(fail)

    async def begin(thing: Thing) -> Any:
        caller = function(thing)
        caller.send(None)
        return caller

    thing = Thing()
    reference = weakref.ref(thing)
    loop = asyncio.get_running_loop()
    logged: List[Any] = []
    loop.set_exception_handler(lambda _, context: logged.append(context["exception"]))
    caller = await begin(thing)
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


async def test_wrong_arguments_count_nothing(cached: Decorate) -> None:
    function = cached(identity)
    with pytest.raises(TypeError, match="argument"):
        await function(1, 2)
    with pytest.raises(TypeError, match="argument"):
        await function(y=1)
    assert function.cache_info() == (0, 0, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


async def test_recursion_deeper_than_the_interpreters(cached: Decorate) -> None:
    async def count_down(n: int) -> int:
        return 0 if n == 0 else 1 + await again(n - 1)

    again: Any = cached(count_down, maxsize=None)
    depth = sys.getrecursionlimit() * 2
    assert await again(depth) == depth
    assert again.cache_info().misses == depth + 1


async def test_work_that_awaits_itself(cached: Decorate) -> None:
    async def itself(n: int) -> int:
        return await again(n)  # type: ignore[no-any-return]

    again: Any = cached(itself)
    with pytest.raises(RuntimeError, match="itself"):
        await again(1)
    assert again.cache_info() == (0, 1, 128, 0)
    assert again.cache_parameters()["tasks"] == 0


# A circle: f(0) awaits g(0), which awaits f(0); or h(0) awaits h(1), which awaits h(0).


@pytest.fixture
def circle(cached: Decorate) -> Any:
    """Two functions that wait for one another where told so, and what else they wait for."""
    calls: Any = {"closed": True, "gates": []}

    async def wait_for(name: str, x: int) -> int:
        for gate in calls["gates"]:
            await gate.wait()
        return await calls[name](x) if calls["closed"] else x

    async def first(x: int) -> int:
        return await wait_for("second", x)

    async def second(x: int) -> int:
        return await wait_for("first", x)

    async def both(x: int) -> int:
        return await wait_for("both", 1 - x)

    for function in first, second, both:
        calls[function.__name__] = cached(function)
    return calls


async def outcome(awaitable: Any) -> str:
    try:
        return repr(await asyncio.wait_for(awaitable, 2))
    except RuntimeError:
        return "RuntimeError"


async def all_is_well(circle: Any) -> None:
    """Nothing runs, and nothing is poisoned."""
    await turns()
    circle["closed"] = False
    for name in "first", "second", "both":
        assert circle[name].cache_parameters()["tasks"] == 0
        assert await outcome(circle[name](0)) == ("1" if name == "both" else "0")


CIRCLES = [
    [("first", 0)],
    [("first", 0), ("second", 0)],
    [("second", 0), ("first", 0)],
    [("both", 0)],
    [("both", 0), ("both", 1)],
    [("both", 1), ("both", 0), ("both", 1)],
]


@pytest.mark.parametrize("calls", CIRCLES, ids=repr)
@pytest.mark.parametrize("gated", [False, True])
async def test_a_circle_is_refused(circle: Any, calls: Any, gated: bool) -> None:
    gate = asyncio.Event()
    if gated:  # all have begun before the first of them waits for another
        circle["gates"].append(gate)
    callers = [asyncio.ensure_future(outcome(circle[name](x))) for name, x in calls]
    await turns()
    gate.set()
    assert set(await asyncio.gather(*callers)) == {"RuntimeError"}
    await all_is_well(circle)


async def test_a_circle_that_is_closed_late(circle: Any) -> None:
    """The one who closes it is refused, though others have come in between."""
    gate = asyncio.Event()
    circle["gates"].append(gate)
    callers = [asyncio.ensure_future(outcome(circle[name](0))) for name in ("first",) * 3]
    await turns()
    circle["gates"].clear()
    callers.append(asyncio.ensure_future(outcome(circle["second"](0))))  # it waits for first
    await turns()
    assert not any(caller.done() for caller in callers)
    gate.set()
    assert await asyncio.gather(*callers) == ["RuntimeError"] * 4
    await all_is_well(circle)


async def test_the_one_who_is_refused_may_go_another_way(cached: Decorate) -> None:
    async def careful(x: int) -> str:
        try:
            return await again(1 - x)  # type: ignore[no-any-return]
        except RuntimeError:
            return f"the other way, from {x}"

    again: Any = cached(careful)
    assert await outcome(again(0)) == "'the other way, from 1'"
    assert again.cache_parameters()["tasks"] == 0


async def test_who_waits_for_another_key_of_the_same_function_is_no_circle(
    cached: Decorate,
) -> None:
    """Two works may wait for one, and a work for several."""

    async def tree(x: int) -> int:
        if x >= 4:
            return x
        left: int = await again(x + 1)
        right: int = await again(x + 2)
        return left + right

    again: Any = cached(tree)
    assert await asyncio.gather(*[again(x) for x in (0, 1, 2, 3)]) == [35, 22, 13, 9]


async def test_a_task_that_cannot_be_made_leaves_nothing(
    cached: Decorate, no_collector: None
) -> None:
    function = cached(identity)
    loop = asyncio.get_running_loop()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no more tasks")

    caller = asyncio.ensure_future(function(1))
    reference = weakref.ref(caller)
    loop.set_task_factory(refuse)
    try:
        await asyncio.wait([caller])
    finally:
        loop.set_task_factory(None)
    with pytest.raises(OSError, match="no more tasks"):
        caller.result()
    del caller
    collect()
    assert reference() is None
    assert function.cache_info() == (0, 0, 128, 0)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == 1
