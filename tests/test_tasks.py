"""Contract 4 and 6: how the task of a call starts, and whatever makes it."""

import asyncio
import contextvars
import functools
import gc
import inspect
import sys
import weakref
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import (
    PYPY,
    Decorate,
    Done,
    Source,
    at_once,
    begin,
    collect,
    identity,
    make_no_task,
    start_at_once,
    tasks_made_by,
    timers,
    turns,
)

Loop: Any = asyncio.SelectorEventLoop
STARTS_EAGERLY = sys.version_info >= (3, 12)


async def test_work_starts_at_once_in_its_own_task(cached: Decorate) -> None:
    tasks: List[Any] = []

    async def work() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)

    function = cached(work)
    call = function()
    call.send(None)  # the caller has taken one step, and nothing else has run
    assert function.cache_parameters()["tasks"] == 1
    assert len(tasks) == STARTS_EAGERLY
    await turns()
    assert len(tasks) == 1
    assert tasks[0] is not asyncio.current_task()
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


@pytest.mark.parametrize("options", [{}, {"ttl": 60}, {"maxsize": 0}])
@pytest.mark.parametrize("waits", [0, 1, 3])
def test_turns_of_the_loop_that_a_miss_adds(waits: int, options: Any) -> None:
    added = 3  # the task starts, its callback runs, the caller goes on
    if STARTS_EAGERLY:
        added = 2 if waits else 0

    class Counting(Loop):  # type: ignore[misc]
        turns = 0

        def _run_once(self) -> None:
            self.turns += 1
            super()._run_once()

    loop = Counting()

    async def work() -> None:
        await turns(waits)

    function: Any = alru_cache(**options)(work)

    async def count(call: Any) -> int:
        before = loop.turns
        await call()
        return loop.turns - before

    async def main() -> None:
        assert await count(work) == waits
        assert await count(function) == waits + added
        if options != {"maxsize": 0}:
            assert await count(function) == 0
        await function.cache_close()

    loop.run_until_complete(main())
    loop.close()


class OwnTasks(asyncio.SelectorEventLoop):
    """An event loop that makes its tasks itself."""

    def create_task(self, coro: Any, **options: Any) -> Any:
        return asyncio.Task(coro, loop=self, **options)


@pytest.mark.parametrize("how", ["debug mode", "task factory", "its own create_task"])
def test_no_eager_start_where_a_user_may_not_expect_one(how: str) -> None:
    runs: List[int] = []

    async def work() -> None:
        runs.append(1)

    function: Any = alru_cache(work)

    async def main() -> None:
        call = function()
        call.send(None)
        assert runs == []
        await turns()
        assert runs == [1]
        call.close()

    loop = OwnTasks() if how == "its own create_task" else asyncio.new_event_loop()
    loop.set_debug(how == "debug mode")
    if how == "task factory":
        loop.set_task_factory(
            lambda loop, it, **options: asyncio.Task(it, loop=loop, **options)
        )
    loop.run_until_complete(main())
    loop.close()


async def test_an_awaitable_that_is_no_coroutine(source: Source, cached: Decorate) -> None:
    async def model(x: int) -> None: ...

    class Function:
        """Looks like a coroutine function, and returns futures."""

        _is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)
        __name__ = "function"
        __code__ = model.__code__
        __defaults__ = __kwdefaults__ = None
        __annotations__: Any = {}

        def __call__(self, x: int) -> Any:
            source.works.append(asyncio.get_running_loop().create_future())
            return source.works[-1]

    function = cached(Function())
    (caller,) = await begin(function(1))
    source.works[0].set_result("x")
    assert await caller == "x"
    (caller,) = await begin(function(2))
    caller.cancel()
    await turns()
    assert caller.cancelled()
    assert source.works[1].cancelled()


# Eager task factories run the first step of a task before create_task() returns.


@pytest.mark.parametrize("ttl", [None, 10])
async def test_an_eager_factory_and_work_that_does_not_suspend(
    cached: Decorate, eager: Any, ttl: Any
) -> None:
    asyncio.get_running_loop().set_task_factory(eager)
    tasks: List["weakref.ref[Any]"] = []

    async def work(x: int) -> int:
        tasks.append(weakref.ref(asyncio.current_task()))
        if x < 0:
            raise ValueError(x)
        return x

    function = cached(work, ttl=ttl)
    assert [await function(1), await function(1)] == [1, 1]
    with pytest.raises(ValueError, match="-1"):
        await function(-1)
    assert function.cache_info() == (1, 2, 128, 1)
    assert function.cache_parameters()["tasks"] == 0
    assert len(timers(asyncio.get_running_loop())) == (ttl is not None)
    await turns()
    gc.collect()  # asyncio's frames, which made the task, and its exception are a cycle
    collect()
    assert [task() for task in tasks] == [None, None]  # only the value is kept


@pytest.mark.parametrize("ttl", [None, 10])
async def test_an_eager_factory_and_work_that_suspends(
    source: Source, cached: Decorate, eager: Any, ttl: Any
) -> None:
    asyncio.get_running_loop().set_task_factory(eager)
    function = cached(ttl=ttl)
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    assert source.calls == [(1,)]
    callers[0].cancel()
    source.works[0].set_result("x")
    assert await callers[1] == "x"
    (caller,) = await begin(function(2))
    caller.cancel()
    await turns()
    assert source.works[1].cancelled()


async def test_eager_work_that_closes_its_cache(cached: Decorate, eager: Any) -> None:
    asyncio.get_running_loop().set_task_factory(eager)

    async def closing() -> str:
        await again.cache_close(wait=True)
        return "x"

    again: Any = cached(closing)
    assert await again() == "x"


@pytest.mark.parametrize("in_task", [True, False])
async def test_a_factory_that_runs_everything_at_once(cached: Decorate, in_task: bool) -> None:
    function = cached(identity)
    call = function(1)
    results: List[int] = []

    def run() -> None:
        with tasks_made_by(start_at_once):
            results.append(at_once(call))

    if in_task:
        run()
    else:
        asyncio.get_running_loop().call_soon(run)
        await turns()
    assert results == [1]
    assert function.cache_info() == (0, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 0


async def test_a_factory_that_runs_a_failure_at_once(
    cached: Decorate, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("no")

    function = cached(fail)
    with tasks_made_by(start_at_once), pytest.raises(ValueError, match="no"):
        at_once(function())
    gc.collect()
    assert function.cache_info() == (0, 1, 128, 0)
    assert function.cache_parameters()["tasks"] == 0
    assert caplog.records == []


async def test_a_factory_of_tasks_of_another_class(source: Source, cached: Decorate) -> None:
    class Named(asyncio.Task):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
        """A task of the user's own class."""

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        return Named(coroutine, loop=loop, **options)

    function = cached()
    with tasks_made_by(factory):
        callers = await begin(function(1), function(1))
        assert sum(isinstance(task, Named) for task in asyncio.all_tasks()) == 3
        callers[0].cancel()
        source.works[0].set_result("x")
        assert await callers[1] == "x"


async def traced(coroutine: Any) -> Any:
    """Be the wrapper that a tracing task factory puts around a coroutine."""
    try:
        return await coroutine
    finally:
        await turns(2)


@pytest.mark.parametrize("how", ["result", "failure", "cancelled", "cancelled at once"])
async def test_a_factory_that_wraps_the_coroutine(
    source: Source, cached: Decorate, how: str
) -> None:
    """Its task ends later than the work, or is cancelled before it starts the work."""

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        return asyncio.Task(traced(coroutine), loop=loop, **options)

    function = cached()
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    with tasks_made_by(factory):
        before = asyncio.all_tasks()
        await turns(1)
    if how == "cancelled at once":
        (work,) = asyncio.all_tasks() - before
        work.cancel()
    else:
        await turns()
        if how == "result":
            source.works[0].set_result("x")
        elif how == "failure":
            source.works[0].set_exception(ValueError("x"))
        else:
            source.works[0].cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    if how == "result":
        assert outcomes == ["x", "x"]
    else:
        kind = ValueError if how == "failure" else asyncio.CancelledError
        assert [type(outcome) for outcome in outcomes] == [kind] * 2
    assert function.cache_contains(1) == (how == "result")
    assert function.cache_parameters()["tasks"] == 0


def test_a_loop_that_wraps_the_coroutine() -> None:
    class Loop(asyncio.SelectorEventLoop):
        def create_task(self, coro: Any, **options: Any) -> Any:
            return asyncio.Task(traced(coro), loop=self, **options)

    function: Any = alru_cache(asyncio.sleep)

    async def main() -> None:
        caller = asyncio.ensure_future(function(0, "x"))
        tasks = asyncio.all_tasks()
        await asyncio.sleep(0)
        (work,) = asyncio.all_tasks() - tasks
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert await function(0, "x") == "x"

    loop = Loop()
    loop.run_until_complete(main())
    loop.close()


async def test_a_task_that_cannot_be_made_leaves_nothing(
    cached: Decorate, no_collector: None
) -> None:
    function = cached(identity)
    caller = asyncio.ensure_future(function(1))
    reference = weakref.ref(caller)
    with tasks_made_by(make_no_task):
        await asyncio.wait([caller])
    with pytest.raises(OSError, match="no more tasks"):
        caller.result()
    del caller
    collect()
    assert reference() is None
    assert function.cache_info() == (0, 0, 128, 0)
    assert function.cache_parameters()["tasks"] == 0
    assert await function(1) == 1


def test_debug_mode() -> None:
    function: Any = alru_cache(ttl=1000)(turns)

    async def main() -> None:
        await asyncio.gather(*[function() for _ in range(3)])
        caller = asyncio.ensure_future(function(3))
        await asyncio.sleep(0)
        caller.cancel()
        await turns()
        function.cache_invalidate()
        await function.cache_close()

    asyncio.run(main(), debug=True)


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def work(x: int) -> int:
        await turns(5 if x == 2 else 1)
        if x < 0:
            raise ValueError(x)
        return x

    function: Any = alru_cache(maxsize=2, ttl=1000)(work)
    plain: Any = alru_cache(identity)

    async def main() -> None:
        assert await asyncio.gather(*[function(1) for _ in range(100)]) == [1] * 100
        with pytest.raises(ValueError, match="-1"):
            await function(-1)
        caller = asyncio.ensure_future(function(2))
        await asyncio.sleep(0)
        caller.cancel()
        await turns()
        assert function.cache_info() == (99, 3, 2, 1)
        if STARTS_EAGERLY:
            assert at_once(plain(1)) == 1
        await function.cache_close()

    loop = uvloop.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


def deep(frames: int, step: Any) -> Any:
    """Take a step deep in the stack: without the collector, which would lack stack there."""
    return deep(frames - 1, step) if frames else step()


@pytest.mark.skipif(PYPY, reason="it counts no frames")
@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("per_instance", [False, True])
async def test_a_miss_that_runs_out_of_stack(
    caplog: pytest.LogCaptureFixture, no_collector: None, per_instance: bool, suspends: bool
) -> None:
    """Wherever that happens, nothing is logged, nothing runs on, and the next call works."""

    class Box:
        @alru_cache(per_instance=per_instance)
        async def get(self) -> str:
            if suspends:
                await asyncio.sleep(0)
            return "got"

    used = len(inspect.stack(0))
    ends = []
    kept = []
    for room in range(1, 100):
        box = Box()
        call: Any = box.get()
        ends.append("suspended")
        try:
            deep(sys.getrecursionlimit() - used - room, functools.partial(call.send, None))
        except (RecursionError, StopIteration) as end:
            ends[-1] = type(end).__name__
            kept.append(end)
        call.close()
        del call
        await turns()
        assert box.get.cache_parameters()["tasks"] == 0
        assert await box.get() == "got"
    assert "RecursionError" in ends
    assert ends[-1] != "RecursionError"
    kept.clear()
    gc.collect()
    assert caplog.messages == []


@pytest.mark.skipif(PYPY, reason="it counts no frames")
@pytest.mark.parametrize("ttl", [None, 60, len], ids=["", "ttl", "ttl function"])
async def test_a_caller_that_runs_out_of_stack_as_the_call_ends(
    cached: Decorate, no_collector: None, ttl: Any
) -> None:
    """Wherever that happens, the other callers receive the result."""
    works: List[Any] = []

    async def get(number: int) -> str:
        works.append(asyncio.get_running_loop().create_future())
        await works[-1]
        return "got"

    function = cached(get, ttl=ttl)
    used = len(inspect.stack(0))
    ends = []
    for room in range(1, 100):
        callers = [asyncio.ensure_future(function(room)) for _ in range(2)]
        await turns()
        works[-1].set_result(None)
        await asyncio.sleep(0)  # its task is done, and the task's callback has yet to run
        call: Any = function(room)
        try:
            deep(sys.getrecursionlimit() - used - room, functools.partial(call.send, None))
        except (RecursionError, StopIteration) as end:
            ends.append(type(end).__name__)
        call.close()
        assert await asyncio.gather(*callers) == ["got", "got"]
    assert "RecursionError" in ends
    assert ends[-1] == "StopIteration"


async def test_a_factory_of_futures(cached: Decorate) -> None:
    """A future is all that asyncio asks of a task factory."""

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: Any) -> Any:
        future: Any = Done(loop=loop)
        task = asyncio.Task(coroutine, loop=loop)
        task.add_done_callback(lambda _: future.set_result(task.result()))
        return future

    function = cached(identity)
    with tasks_made_by(factory):
        assert await function(1) == 1
        assert await function(1) == 1
    assert function.cache_info()[:2] == (1, 1)


async def test_a_ttl_function_that_ends_the_program_at_once(cached: Decorate) -> None:
    def ttl(_: Any) -> Any:
        raise SystemExit

    function = cached(identity, ttl=ttl)
    with tasks_made_by(start_at_once), pytest.raises(SystemExit):
        await function(1)
    assert not function.cache_contains(1)
    assert function.cache_parameters()["tasks"] == 0
