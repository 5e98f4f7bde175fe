"""Contract 8: the place that the loop-reset warning points at."""

import asyncio
import functools
import inspect
import sys
from typing import Any, AsyncIterator, Callable, Generator, Tuple
from unittest import mock

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import this_loop


def decorated(name: str) -> Any:
    class Loops:
        @alru_cache
        async def shared(self) -> Any:
            return asyncio.get_running_loop()

        @alru_cache(per_instance=True)
        async def own(self) -> Any:
            return asyncio.get_running_loop()

    if name in ("shared", "own"):
        return getattr(Loops(), name)
    function = functools.partial(this_loop, 1) if name == "partial" else this_loop
    return alru_cache(function)


def place_of_warning(function: Any, main: Callable[[], Any]) -> Tuple[str, int]:
    """What the warning points at when ``main`` calls a function in a new loop."""
    asyncio.run(function())
    with pytest.warns(AlruCacheLoopResetWarning) as caught:
        asyncio.run(main())
    [warning] = [each for each in caught if each.category is AlruCacheLoopResetWarning]
    return warning.filename, warning.lineno


@pytest.mark.parametrize("name", ["function", "shared", "own"])
def test_the_warning_points_at_the_line_that_awaits(name: str) -> None:
    function = decorated(name)

    async def main() -> None:
        await asyncio.sleep(0)
        await function()

    line = main.__code__.co_firstlineno + 2
    assert place_of_warning(function, main) == (__file__, line)


def test_the_warning_points_at_the_line_of_an_async_generator() -> None:
    function = decorated("function")

    async def results() -> AsyncIterator[Any]:
        yield await function()

    async def main() -> None:
        assert len([each async for each in results()]) == 1

    assert place_of_warning(function, main) == (__file__, results.__code__.co_firstlineno + 1)


def test_the_warning_points_at_the_line_of_an_awaitable() -> None:
    function = decorated("function")

    class Result:
        def __await__(self) -> Generator[Any, None, None]:
            yield from function().__await__()

    async def main() -> None:
        await Result()

    line = Result.__await__.__code__.co_firstlineno + 1
    assert place_of_warning(function, main) == (__file__, line)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there wait_for makes a task")
def test_the_warning_points_past_what_asyncio_awaits() -> None:
    function = decorated("function")

    async def main() -> None:
        await asyncio.wait_for(function(), 60)

    line = main.__code__.co_firstlineno + 1
    assert place_of_warning(function, main) == (__file__, line)


@pytest.mark.parametrize("name", ["function", "partial", "shared", "own"])
@pytest.mark.parametrize("how", ["run", "create_task", "uvloop"])
def test_the_warning_of_a_task_points_at_the_function(name: str, how: str) -> None:
    function = decorated(name)
    code = getattr(inspect.unwrap(function), "__code__", this_loop.__code__)

    async def main() -> None:
        await asyncio.create_task(function())

    async def in_uvloop() -> None:
        loop = pytest.importorskip("uvloop").new_event_loop()
        await asyncio.get_running_loop().run_in_executor(
            None, loop.run_until_complete, function()
        )
        loop.close()

    mains = {"run": function, "create_task": main, "uvloop": in_uvloop}
    place = place_of_warning(function, mains[how])
    assert place == (code.co_filename, code.co_firstlineno)


def test_the_warning_of_a_function_without_a_line() -> None:
    function: Any = alru_cache(mock.AsyncMock(__name__="mocked"))
    place_of_warning(function, function)  # it is issued
