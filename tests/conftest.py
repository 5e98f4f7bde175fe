"""What the tests are given, and a look at what is left behind."""

import asyncio
import gc
import inspect
import sys
import threading
from typing import Any, AsyncIterator, Dict, Iterator, List

import pytest

from async_lru import _LRUCacheWrapper, alru_cache

from .helpers import (
    LIMIT,
    PYPY,
    ClockLoop,
    Decorate,
    Source,
    Worker,
    clock_loop,
    start_at_once,
    timers,
    turns,
)


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


@pytest.fixture
def clock() -> Iterator[ClockLoop]:
    """A loop whose time passes when the test says; see ``on_clock``."""
    with clock_loop() as loop:
        yield loop


@pytest.fixture
def logged(clock: ClockLoop) -> Iterator[List[Dict[str, Any]]]:
    """What that loop has logged; a test takes out what it expects."""
    logged: List[Dict[str, Any]] = []
    clock.set_exception_handler(lambda _, context: logged.append(context))
    yield logged
    assert logged == []


@pytest.fixture
def timed(
    clock: ClockLoop, source: Source, logged: List[Dict[str, Any]]
) -> Iterator[Decorate]:
    """As ``cached``, on the clock's loop, where no task or timer may be left."""
    made: List["_LRUCacheWrapper[Any]"] = []

    def decorate(function: Any = source.fetch, **options: Any) -> Any:
        made.append(alru_cache(**options)(function))
        return made[-1]

    yield decorate

    async def close() -> None:
        await turns()
        for work in source.works:
            work.cancel()
        for function in made:
            await function.cache_close()
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run_until_complete(close())
    assert timers(clock) == []


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


@pytest.fixture
def another() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


@pytest.fixture
def eager() -> Any:
    """The factory of eager tasks: they run their first step before create_task() returns."""
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks are new in 3.12")
    return asyncio.eager_task_factory


@pytest.fixture
def eager_somehow() -> Any:
    """The same, and what comes near to it before 3.12."""
    return getattr(asyncio, "eager_task_factory", start_at_once)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Disable the collector: only reference counts free objects."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def switching() -> Iterator[None]:
    """Have threads switch as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5 if PYPY else 1e-6)  # more often, PyPy makes no progress
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)  # asyncio's own, which watch a process, may take a moment
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
