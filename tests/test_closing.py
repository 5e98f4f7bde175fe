"""Contract 9: ``cache_close``."""

import asyncio
import gc
import sys
import warnings
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import (
    LIMIT,
    Decorate,
    Source,
    Worker,
    begin,
    collect,
    forever,
    identity,
    in_thread,
    start_at_once,
    tasks_made_by,
    turns,
)


@pytest.mark.parametrize("how", ["factory", "eager start"])
@pytest.mark.parametrize("wait", [False, True])
async def test_a_close_that_begins_while_a_call_starts(
    cached: Decorate, wait: bool, how: str
) -> None:
    if how == "eager start" and sys.version_info < (3, 12):
        pytest.skip("eager tasks are new in 3.12")
    loop = asyncio.get_running_loop()
    closing: List[Any] = []
    gate = asyncio.Event()

    async def work() -> str:
        close = cached_work.cache_close(wait=wait)
        if how == "factory":
            closing.append(loop.create_task(close))
        else:
            closing.append(asyncio.Task(close, loop=loop, eager_start=True))  # type: ignore[call-arg,unused-ignore]
        await gate.wait()
        return "x"

    cached_work = cached(work)
    with tasks_made_by(start_at_once if how == "factory" else None):
        (caller,) = await begin(cached_work())
    assert closing[0].done() != wait
    gate.set()
    await asyncio.wait([caller, *closing])
    assert caller.cancelled() != wait
    assert cached_work.cache_parameters()["tasks"] == 0


CLOSED = r"^alru_cache is closed for identity .*Another event loop has an open cache\.$"


async def test_closed_refuses_calls_hits_too(cached: Decorate) -> None:
    function = cached(identity)
    await function(1)
    await function.cache_close()
    await function.cache_close()
    for x in 1, 2:
        with pytest.raises(RuntimeError, match=CLOSED):
            await function(x)
    assert function.cache_info() == (0, 1, 128, 1)
    assert function.cache_contains(1)
    assert function.cache_parameters()["closed"]
    function.cache_clear()
    with pytest.raises(RuntimeError, match="closed"):
        await function(1)


async def test_wait_is_given_by_name() -> None:
    class Box:
        @alru_cache
        async def method(self) -> None: ...

        @alru_cache(per_instance=True)
        async def own(self) -> None: ...

    for function in Box.method, Box().method, Box.own, Box().own:
        close: Any = function.cache_close
        with pytest.raises(TypeError, match="positional"):
            await close(True)


async def test_closed_can_be_read_and_dropped(cached: Decorate) -> None:
    function = cached(identity, ttl=1000)
    for x in 1, 2:
        await function(x)
    await function.cache_close()
    assert function.cache_info() == (0, 2, 128, 2)
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, True, False]
    assert function.cache_invalidate(1)
    assert not function.cache_contains(1)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    assert function.cache_parameters()["closed"]


async def test_close_of_a_function_never_called(cached: Decorate) -> None:
    await cached(identity).cache_close(wait=True)


async def in_flight(function: Any) -> List["asyncio.Task[Any]"]:
    """Callers of four runs: one in the cache, one evicted, one invalidated, one cleared."""
    callers = await begin(*[function(x) for x in (1, 2)])
    function.cache_invalidate(2)
    callers.append(asyncio.ensure_future(function(3)))
    await turns()
    function.cache_clear()
    callers.append(asyncio.ensure_future(function(4)))
    await turns()
    return callers


async def test_close_cancels_every_work(source: Source, cached: Decorate) -> None:
    function = cached(maxsize=1, ttl=10)
    callers = await in_flight(function)
    await function.cache_close()
    assert all(work.cancelled() for work in source.works)
    assert function.cache_parameters()["tasks"] == 0
    await asyncio.wait(callers)
    assert all(caller.cancelled() for caller in callers)


async def test_close_waits_for_every_work(source: Source, cached: Decorate) -> None:
    function = cached(maxsize=1, ttl=10)
    callers = await in_flight(function)
    (closing,) = await begin(function.cache_close(wait=True))
    with pytest.raises(RuntimeError, match="closed"):
        await function(4)
    for work in source.works:
        assert not closing.done()
        work.set_result("x")
        await turns()
    await closing
    assert await asyncio.gather(*callers) == ["x"] * 4
    assert function.cache_info().currsize == 1
    assert function.cache_contains(4)


async def test_a_cancelled_close_leaves_nothing_behind(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    (caller,) = await begin(function(1))

    def futures() -> int:
        gc.collect()
        collect()
        return sum(type(thing) is asyncio.Future for thing in gc.get_objects())

    before = futures()
    for _ in range(3):
        (closing,) = await begin(function.cache_close(wait=True))
        closing.cancel()
        await turns()
        assert closing.cancelled()
        del closing
    assert futures() <= before  # objects of other tests may be freed meanwhile
    source.works[0].set_result("x")
    assert await caller == "x"


async def test_close_cancels_a_call_once() -> None:
    cleanups = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await cleanups[number]

    function: Any = alru_cache(work)
    callers = await begin(*[function(number) for number in range(2)])
    closing = asyncio.ensure_future(function.cache_close())
    for cleanup in cleanups:
        await turns()
        assert not closing.done()
        cleanup.set_result(None)  # of one; the other must not be cancelled again
    await closing
    assert not any(cleanup.cancelled() for cleanup in cleanups)
    await asyncio.wait(callers)


async def test_close_waits_for_cleanup(source: Source, cached: Decorate) -> None:
    cleanup = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await source.fetch()
        finally:
            await cleanup

    function = cached(work)
    (caller,) = await begin(function())
    (closing,) = await begin(function.cache_close())
    assert not closing.done()
    assert not caller.done()
    cleanup.set_result(None)
    await closing
    await turns()
    assert caller.cancelled()


@pytest.mark.parametrize("wait", [False, True])
async def test_work_that_closes_its_own_cache(cached: Decorate, wait: bool) -> None:
    async def closing() -> str:
        await again.cache_close(wait=wait)
        return "x"

    again: Any = cached(closing)
    assert await again() == "x"
    assert again.cache_parameters()["closed"]


async def test_a_cancelled_close_can_be_taken_up_again(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    (caller,) = await begin(function(1))
    (closing,) = await begin(function.cache_close(wait=True))
    closing.cancel()
    await turns()
    assert not caller.done()
    await function.cache_close()
    await turns()
    assert caller.cancelled()


@pytest.mark.parametrize("wait", [False, True])
async def test_works_that_close_their_cache_do_not_wait_for_one_another(
    cached: Decorate, wait: bool
) -> None:
    gate = asyncio.Event()

    async def closing(x: int) -> int:
        await gate.wait()
        await again.cache_close(wait=wait)
        return x

    again: Any = cached(closing)
    callers = await begin(*[again(x) for x in (1, 2)])
    gate.set()
    await asyncio.wait(callers)
    if wait:
        assert [caller.result() for caller in callers] == [1, 2]
    assert again.cache_parameters()["tasks"] == 0


async def test_a_call_that_waits_for_the_one_that_closes_is_not_waited_for(
    source: Source, cached: Decorate
) -> None:
    """Through a chain of calls: first, second, third, which closes the first."""

    async def first(x: int) -> Any:
        return await functions["second"]() if x else await source.fetch()

    async def second() -> Any:
        return await functions["third"]()

    async def third() -> str:
        await functions["first"].cache_close(wait=True)
        return "closed"

    functions = {function.__name__: cached(function) for function in (first, second, third)}
    (bystander,) = await begin(functions["first"](0))
    (caller,) = await begin(functions["first"](1))
    assert not caller.done()  # it waits for the bystander
    source.works[0].set_result("x")
    assert await caller == "closed"
    assert await bystander == "x"


@pytest.mark.parametrize("wait", [False, True])
def test_close_affects_no_other_loop(worker: Worker, another: Worker, wait: bool) -> None:
    release: List[asyncio.Event] = []

    async def work(x: int) -> int:
        if x == 1:
            release.append(asyncio.Event())
            await release[0].wait()
        return x

    function: Any = alru_cache(ttl=1000)(work)
    job = worker.start(function(1))
    worker.run(turns())
    another.run(function(2))
    another.run(function.cache_close(wait=wait))
    with pytest.raises(RuntimeError, match="closed"):
        another.run(function(2))
    assert worker.run(function(3)) == 3
    assert not job.done()
    worker.call(release[0].set)
    assert job.result(LIMIT) == 1
    assert worker.run(function(1)) == 1
    assert asyncio.run(function(4)) == 4  # nor is a loop that is yet to come
    for place, closed in (worker, False), (another, True):
        assert place.call(lambda: function.cache_parameters()["closed"]) == closed
    worker.run(function.cache_close())


def test_closed_is_about_the_running_loop(worker: Worker, another: Worker) -> None:
    function: Any = alru_cache(identity)

    def closed() -> Any:
        return function.cache_parameters()["closed"]

    assert not closed()
    for place in worker, another:
        place.run(function(1))
    assert not closed()
    worker.run(function.cache_close())
    assert not closed()
    assert worker.call(closed)
    assert not another.call(closed)
    another.run(function.cache_close())
    assert closed()  # no loop runs here, and all caches are closed


def test_an_application_that_starts_again_finds_its_caches_open() -> None:
    function: Any = alru_cache(identity)

    async def main() -> None:
        assert not function.cache_parameters()["closed"]
        await function(1)
        await function.cache_close()
        assert function.cache_parameters()["closed"]
        with pytest.raises(RuntimeError, match="closed"):
            await function(1)

    for _ in range(3):
        asyncio.run(main())  # nothing is lost; a warning would be an error here


def test_closed_before_its_first_call() -> None:
    function: Any = alru_cache(identity)

    async def main() -> None:
        await function.cache_close()
        assert function.cache_parameters()["closed"]
        with pytest.raises(RuntimeError, match="closed"):
            await function(1)
        assert function.cache_info() == (0, 0, 128, 0)

    asyncio.run(main())
    assert asyncio.run(function(1)) == 1


async def test_close_after_another_loop_was_closed(cached: Decorate) -> None:
    function = cached(forever)

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        caller = function()

        async def begin() -> None:
            caller.send(None)
            await turns()

        loop.run_until_complete(begin())
        loop.close()
        assert function.cache_info().currsize == 1
        assert function.cache_parameters()["tasks"] == 0
        caller.close()

    in_thread(abandon)
    await function.cache_close()
    assert function.cache_parameters()["tasks"] == 0


DEFAULTS: Any = {"cancel": False, "return_exceptions": True}


class Closable:
    @alru_cache
    async def method(self) -> None: ...


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("value", [False, True, 0, 1, None])
async def test_deprecated_arguments_of_close(name: str, value: Any) -> None:
    close: Any = Closable().method.cache_close
    if value in (DEFAULTS[name], None):
        await close(**{name: value})  # a warning would be an error here
    else:
        with pytest.warns(DeprecationWarning, match=name) as caught:
            await close(**{name: value})
        files = [each.filename for each in caught if each.category is DeprecationWarning]
        assert files == [__file__]
    method: Any = Closable.method
    with pytest.raises(TypeError):
        await method.cache_close(**{name: value})


@pytest.mark.parametrize("value", [False, True, None])
async def test_deprecated_arguments_have_no_effect(source: Source, value: Any) -> None:
    class Box:
        @alru_cache
        async def method(self) -> Any:
            return await source.fetch()

    (caller,) = await begin(Box().method())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        await Box().method.cache_close(cancel=value)
    await turns()
    assert caller.cancelled()
