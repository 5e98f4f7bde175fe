"""What the tests share: functions under control, and a look at what is left behind."""

import asyncio
import inspect
import threading
from typing import Any, AsyncIterator, Callable, Iterator, List, Tuple

import pytest

from async_lru import _LRUCacheWrapper, alru_cache

Decorate = Callable[..., Any]


class Source:
    """Gives a coroutine function whose calls end when, and as, the test says."""

    def __init__(self) -> None:
        self.calls: List[Tuple[Any, ...]] = []
        self.works: List["asyncio.Future[Any]"] = []

    async def fetch(self, *args: Any) -> Any:
        work = asyncio.get_running_loop().create_future()
        self.calls.append(args)
        self.works.append(work)
        return await work


async def turns(count: int = 5) -> None:
    """Let everything that is ready run, and what that makes ready, and so on."""
    for _ in range(count):
        await asyncio.sleep(0)


def timers(loop: Any) -> List[asyncio.TimerHandle]:
    return [timer for timer in loop._scheduled if not timer.cancelled()]


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def cached(source: Source) -> AsyncIterator[Decorate]:
    """Decorate with the options given: a function, or else ``source.fetch``."""
    made: List["_LRUCacheWrapper[Any]"] = []

    def decorate(function: Any = source.fetch, **options: Any) -> Any:
        made.append(alru_cache(**options)(function))
        return made[-1]

    yield decorate
    for work in source.works:
        work.cancel()
    for function in made:
        await function.cache_close()


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)  # asyncio's own may take a moment, where they watch a process
    assert set(threading.enumerate()) <= before


@pytest.fixture
async def nothing_left_on_the_loop() -> AsyncIterator[None]:
    yield
    await turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert timers(asyncio.get_running_loop()) == []


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, no_thread_left: None) -> None:
    # Only where the test has a loop: the others make and close their own.
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("nothing_left_on_the_loop")
