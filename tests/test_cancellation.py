"""Contract 6: cancellation."""

import asyncio
import sys
from typing import Any, List

import pytest

from .helpers import PYPY, Decorate, Source, begin, collect, turns

STARTED_EAGERLY = sys.version_info >= (3, 12)


def others(*mine: Any) -> List[Any]:
    """The tasks of the runs: all but the test's own."""
    return list(asyncio.all_tasks() - {asyncio.current_task(), *mine})


async def test_a_cancelled_caller_leaves_the_others_alone(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    callers = await begin(*[function(1) for _ in range(3)])
    callers[0].cancel()
    callers[2].cancel()
    await turns()
    assert callers[0].cancelled()
    assert callers[2].cancelled()
    source.works[0].set_result("x")
    assert await callers[1] == "x"
    assert function.cache_contains(1)


async def test_the_work_is_cancelled_with_its_last_caller(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    callers = await begin(*[function(1) for _ in range(2)])
    for caller in callers:
        caller.cancel()
    await turns()
    assert source.works[0].cancelled()
    assert function.cache_info() == (1, 1, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("ending", ["cancelled", "value", "failure"])
async def test_a_call_during_the_cleanup_of_cancelled_work_starts_afresh(
    source: Source, cached: Decorate, ending: str
) -> None:
    cleanup = asyncio.get_running_loop().create_future()
    logged = []
    asyncio.get_running_loop().set_exception_handler(lambda _, entry: logged.append(entry))

    async def work(x: int) -> Any:
        try:
            return await source.fetch(x)
        except asyncio.CancelledError:
            await cleanup
            if ending == "value":
                return "too late"
            raise

    function = cached(work)
    (first,) = await begin(function(1))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not function.cache_contains(1)
    (second,) = await begin(function(1))
    assert function.cache_parameters()["tasks"] == 2
    if ending == "failure":
        cleanup.set_exception(ValueError("cleanup"))
    else:
        cleanup.set_result(None)
    await turns()
    assert function.cache_contains(1)
    source.works[1].set_result("fresh")
    assert await second == "fresh"
    assert await function(1) == "fresh"
    if PYPY:
        del cleanup  # its exception keeps asyncio's frames, which refer to the task
    collect()
    assert [str(entry["exception"]) for entry in logged] == ["cleanup"] * (ending == "failure")


async def test_a_caller_who_joins_while_the_last_one_is_leaving_keeps_the_work(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    (first,) = await begin(function(1))
    first.cancel()  # it has yet to notice
    second = function(1)
    second.send(None)
    await turns()
    assert first.cancelled()
    source.works[0].set_result("x")
    await turns()
    with pytest.raises(StopIteration) as stop:
        second.send(None)
    assert stop.value.value == "x"


async def test_work_cancelled_by_someone_else(source: Source, cached: Decorate) -> None:
    function = cached()
    callers = await begin(*[function(1) for _ in range(2)])
    (task,) = others(*callers)
    task.cancel()
    await turns()
    assert all(caller.cancelled() for caller in callers)
    assert function.cache_info() == (1, 1, 128, 0)


async def test_work_cancelled_before_its_first_step(source: Source, cached: Decorate) -> None:
    function = cached(ttl=10)
    caller = asyncio.ensure_future(function(1))
    await asyncio.sleep(0)  # the caller has run, and the work may have yet to
    (task,) = others(caller)
    task.cancel()
    late = function(1)
    late.send(None)  # joins the work that is being cancelled
    await turns()
    assert source.calls == [(1,)] * STARTED_EAGERLY
    assert caller.cancelled()
    with pytest.raises(asyncio.CancelledError):
        late.send(None)
    assert function.cache_info() == (1, 1, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


async def test_last_caller_gone_before_the_works_first_step(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    caller = function(1)
    caller.send(None)
    caller.close()
    await turns()
    assert not function.cache_contains(1)
    assert function.cache_info() == (0, 1, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


async def test_a_caller_cancelled_when_the_result_is_already_there(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    (caller,) = await begin(function(1))
    source.works[0].set_result("x")
    await asyncio.sleep(0)  # the work is done, and the caller is about to be woken
    caller.cancel()
    await turns()
    assert caller.cancelled()
    assert await function(1) == "x"


async def test_all_callers_and_the_work_cancelled_at_once(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    callers = await begin(*[function(1) for _ in range(2)])
    for task in [*others(*callers), *callers]:
        task.cancel()
    await turns()
    assert all(caller.cancelled() for caller in callers)
    assert function.cache_parameters()["tasks"] == 0
    assert not function.cache_contains(1)


async def test_a_closed_caller_leaves_as_a_cancelled_one(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    caller = function(1)
    caller.send(None)
    await turns()
    caller.close()
    await turns()
    assert source.works[0].cancelled()
    assert not function.cache_contains(1)


@pytest.mark.parametrize("how", ["closed", "collected"])
async def test_a_closed_or_collected_caller_leaves_the_others_alone(
    source: Source, cached: Decorate, how: str
) -> None:
    function = cached()
    callers = [function(1), function(1)]
    assert [caller.send(None) is not None for caller in callers] == [True] * 2
    (patient,) = await begin(function(1))
    if how == "closed":
        callers.pop().close()
        callers.pop().close()
    callers.clear()
    collect()
    await turns()
    assert not source.works[0].done()
    assert function.cache_info() == (2, 1, 128, 1)
    source.works[0].set_result("x")
    assert await patient == "x"


@pytest.mark.skipif(PYPY, reason="it does not close the coroutines that it collects")
async def test_the_work_is_cancelled_when_its_last_caller_is_collected(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    caller = function(1)
    caller.send(None)
    await turns()
    del caller
    collect()
    await turns()
    assert source.works[0].cancelled()
    assert function.cache_info() == (0, 1, 128, 0)
    assert function.cache_parameters()["tasks"] == 0


async def test_wait_for(source: Source, cached: Decorate) -> None:
    function = cached()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(function(1), 0.01)
    assert source.works[0].cancelled()
    patient = asyncio.ensure_future(function(1))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(function(1), 0.01)
    assert not patient.done()
    source.works[1].set_result("x")
    assert await patient == "x"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="timeout and TaskGroup are new in 3.11")
async def test_timeout_and_task_group(source: Source, cached: Decorate) -> None:
    function = cached()
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.01):  # type: ignore[attr-defined,unused-ignore]
            await function(1)
    assert source.works[0].cancelled()

    async def fail() -> None:
        await turns()
        raise ValueError

    callers = []
    with pytest.raises(Exception, match="unhandled errors in a TaskGroup"):  # noqa: PT012
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
            callers.append(group.create_task(function(1)))
            group.create_task(fail())
    assert callers[0].cancelled()
    assert source.works[1].cancelled()


async def test_the_last_caller_is_cancelled_as_the_work_ends(cached: Decorate) -> None:
    """The work has ended: its result is kept."""
    ended = asyncio.get_running_loop().create_future()
    calls = []

    async def work() -> None:
        calls.append(1)
        await ended

    function = cached(work)
    [caller] = await begin(function())
    ended.set_result(None)
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    await function()
    assert calls == [1]
