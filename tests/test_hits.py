"""Contract 4: hits, misses, eviction."""

import asyncio
import contextvars
import gc
import logging
import sys
import weakref
from typing import Any, List
from unittest import mock

import pytest

from .helpers import Decorate, Source, Thing, identity, turns


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
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "exception was never retrieved" in caplog.text
    assert "cleanup" in caplog.text


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
        assert reference() is not None
        await function("one more")
    assert reference() is None


async def test_what_is_dropped_does_not_pile_up(cached: Decorate) -> None:
    function = cached(identity, ttl=10)
    for x in range(10):
        await function(x)
    gc.collect()
    before = len(gc.get_objects())
    for x in range(10, 1010):
        await function(x)
        function.cache_invalidate(x)
    gc.collect()
    assert len(gc.get_objects()) < before + 100


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
        self.function.cache_invalidate("other")
        assert not self.function.cache_contains("other")
        self.sizes.append(self.function.cache_info().currsize)


@pytest.mark.parametrize("ttl", [None, 0.02])
@pytest.mark.parametrize("is_key", [False, True])
@pytest.mark.parametrize("how", ["evict", "invalidate", "clear", "expire"])
async def test_a_finalizer_may_use_the_cache(
    cached: Decorate, ttl: Any, is_key: bool, how: str
) -> None:
    if how == "expire" and ttl is None:
        pytest.skip("nothing expires")
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
    # Evicted, there is the new one; expired, "other" is the next to go.
    assert sizes == [int(how in ("evict", "expire"))]
    await function("other")
    assert function.cache_contains("other")


async def test_what_expires_is_released(cached: Decorate) -> None:
    function = cached(identity, ttl=0.01)
    thing = Thing()
    reference = weakref.ref(thing)
    await function(thing)
    del thing
    await asyncio.sleep(0.05)
    assert reference() is None


@pytest.mark.parametrize("shared", [False, True])
async def test_a_failed_call_keeps_nothing_alive(cached: Decorate, shared: bool) -> None:
    async def fail(thing: Thing) -> None:
        await asyncio.sleep(0)
        raise ValueError(thing)

    function = cached(fail)
    thing = Thing()
    reference = weakref.ref(thing)
    callers = [asyncio.ensure_future(function(thing)) for _ in range(1 + shared)]
    del thing
    gc.disable()
    try:
        await asyncio.wait(callers)
        assert all(isinstance(caller.exception(), ValueError) for caller in callers)
        del callers
        await turns()
        assert reference() is None  # by reference counts alone: there is no cycle
    finally:
        gc.enable()


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
    with pytest.raises(RuntimeError, match="itself awaits its own result"):
        await again(1)
    assert again.cache_info() == (0, 1, 128, 0)


async def test_a_task_that_cannot_be_made_leaves_nothing(cached: Decorate) -> None:
    function = cached(identity)
    loop = asyncio.get_running_loop()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no more tasks")

    loop.set_task_factory(refuse)
    try:
        with pytest.raises(OSError, match="no more tasks"):
            await function(1)
    finally:
        loop.set_task_factory(None)
    assert function.cache_info() == (0, 0, 128, 0)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == 1
