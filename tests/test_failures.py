"""Contract 4: exceptions are never cached, and each reaches its callers or the log."""

import asyncio
import dataclasses
import gc
import logging
import traceback
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import (
    LIMIT,
    ClockLoop,
    Decorate,
    Logged,
    Source,
    begin,
    collect,
    messages,
    on_clock,
    turns,
)


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    name: str


async def test_an_exception_that_cannot_be_changed() -> None:
    @alru_cache
    async def find(name: str) -> None:
        await asyncio.sleep(0)
        raise FrozenError(name)

    callers = [asyncio.ensure_future(find("x")) for _ in range(2)]
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert outcomes == [FrozenError("x")] * 2
    assert find.cache_info() == (1, 1, 128, 0)
    await find.cache_close(wait=True)


class OptionError(Exception):
    """It hides a method that exceptions have."""

    def __init__(self) -> None:
        vars(self)["with_traceback"] = True


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_exception_that_hides_its_methods(at_once: bool) -> None:
    @alru_cache
    async def find() -> None:
        if not at_once:
            await asyncio.sleep(0)
        raise OptionError

    for _ in range(2):
        with pytest.raises(OptionError):
            await asyncio.wait_for(find(), LIMIT)
    assert find.cache_info() == (0, 2, 128, 0)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_function_that_raises_generator_exit(at_once: bool) -> None:
    @alru_cache
    async def leave() -> None:
        if not at_once:
            await asyncio.sleep(0)
        raise GeneratorExit("mine")

    callers = [asyncio.ensure_future(leave()) for _ in range(2)]
    await asyncio.wait(callers)
    assert [repr(caller.exception()) for caller in callers] == ["GeneratorExit('mine')"] * 2


async def test_exceptions_are_not_cached(source: Source, cached: Decorate) -> None:
    function = cached()
    callers = await begin(*[function(1) for _ in range(2)])
    source.works[0].set_exception(ValueError("no"))
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [repr(result) for result in results] == ["ValueError('no')"] * 2
    assert not function.cache_contains(1)
    (again,) = await begin(function(1))
    source.works[1].set_result("x")
    assert await again == "x"
    assert function.cache_info() == (1, 2, 128, 1)


async def test_a_call_in_the_turn_of_the_failure_starts_anew(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    loop = asyncio.get_running_loop()
    (old,) = await begin(function(1))
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
            frames = traceback.extract_tb(error.__traceback__)
            return [frame.name for frame in frames if "asyncio" not in frame.filename]

    for names in await asyncio.gather(*[caller() for _ in range(callers)]):
        assert names.count("fail") == 1
        assert names[-1] == "fail"
        assert len(names) <= 5  # caller, three frames of ours, fail


async def test_a_received_exception_is_not_logged(
    source: Source, cached: Decorate, caplog: pytest.LogCaptureFixture
) -> None:
    function = cached()
    callers = await begin(*[function(1) for _ in range(2)])
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

    (caller,) = await begin(cached(fail_in_cleanup)())
    caller.cancel()
    await turns()
    gc.collect()
    collect()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "exception was never retrieved" in caplog.text
    assert "cleanup" in caplog.text


class SameError(Exception):
    """An exception that is equal to everything."""

    __hash__ = Exception.__hash__

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize("error", [Exception, SameError])
async def test_an_exception_whose_caller_is_cancelled_as_it_comes_is_logged(
    source: Source, cached: Decorate, caplog: pytest.LogCaptureFixture, error: Any
) -> None:
    (caller,) = await begin(cached()(1))
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


@on_clock
async def test_an_exception_whose_caller_is_closed_as_it_comes_is_logged_once(
    clock: ClockLoop, source: Source, cached: Decorate, logged: Logged
) -> None:
    function = cached()
    caller = function(1)
    caller.send(None)
    await turns()
    source.works.pop().set_exception(ValueError)
    await asyncio.sleep(0)  # the work has failed, and the callback of its task is to come
    assert function.cache_parameters()["tasks"] == 1
    caller.close()
    await turns()
    assert messages(logged) == [("Task exception was never retrieved", "ValueError()")]
