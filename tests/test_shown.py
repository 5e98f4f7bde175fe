"""Contract 12: what asyncio shows of a call in flight is the user's function."""

import asyncio
import gc
import io
import logging
import pathlib
import sys
import weakref
from typing import TYPE_CHECKING, Any, List

import pytest

from async_lru import alru_cache

from .helpers import ClockLoop, Decorate, Source, begin, collect, on_clock, turns

gates: List["asyncio.Future[Any]"] = []


async def get_page(x: int) -> int:
    gates.append(asyncio.get_running_loop().create_future())
    await gates[-1]  # this is where it waits
    raise OSError(x)


def line_of(text: str) -> int:
    """The number of this file's line that contains a text."""
    lines = pathlib.Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


WAITS = line_of("# this is where it waits")
FAILS = WAITS + 1


@pytest.fixture(autouse=True)
def no_gates() -> None:
    gates.clear()


async def begin_call(call: Any) -> Any:
    """Start a call; return its caller and the task of the call in flight."""
    before = asyncio.all_tasks()
    (caller,) = await begin(call)
    (task,) = asyncio.all_tasks() - before - {caller}
    return caller, task


async def end(caller: Any) -> None:
    for gate in gates:
        if not gate.done():
            gate.set_result(None)
    with pytest.raises(OSError, match="1"):
        await caller


def shown(task: Any) -> str:
    stack = io.StringIO()
    task.print_stack(file=stack)
    return stack.getvalue()


async def test_repr_of_the_task(cached: Decorate) -> None:
    caller, task = await begin_call(cached(get_page)(1))
    assert f"coro=<get_page() running at {__file__}:{WAITS}>" in repr(task)
    assert "async_lru" not in repr(task).replace(__file__, "")
    await end(caller)
    assert "coro=<get_page() done" in repr(task)
    assert "OSError(1)" in repr(task)


async def test_coroutine_of_the_task(cached: Decorate) -> None:
    caller, task = await begin_call(cached(get_page)(1))
    coroutine = task.get_coro()
    assert coroutine.__name__ == coroutine.__qualname__ == "get_page"
    assert coroutine.cr_code is get_page.__code__
    assert coroutine.cr_frame.f_code is get_page.__code__
    assert coroutine.cr_frame.f_lineno == WAITS
    assert coroutine.cr_await is not None
    await end(caller)
    assert coroutine.__name__ == coroutine.__qualname__ == "get_page"
    assert coroutine.cr_frame is None


async def test_a_qualified_name_is_kept(cached: Decorate) -> None:
    class Site:
        async def page(self) -> int:
            return await get_page(1)

    caller, task = await begin_call(cached(Site.page).__get__(Site())())
    assert task.get_coro().__qualname__ == Site.page.__qualname__
    assert task.get_coro().__name__ == "page"
    assert f"coro=<{Site.page.__qualname__}() running at" in repr(task)
    await end(caller)
    assert f"coro=<{Site.page.__qualname__}() done" in repr(task)


async def test_stack_of_the_task(cached: Decorate) -> None:
    caller, task = await begin_call(cached(get_page)(1))
    (frame,) = task.get_stack()
    assert (frame.f_code, frame.f_lineno) == (get_page.__code__, WAITS)
    assert f'File "{__file__}", line {WAITS}, in get_page' in shown(task)
    del frame
    await end(caller)
    assert f'File "{__file__}", line {FAILS}, in get_page' in shown(task)


async def test_a_task_that_has_yet_to_begin(cached: Decorate) -> None:
    before = asyncio.all_tasks()
    call = cached(get_page)(1)
    call.send(None)
    (task,) = asyncio.all_tasks() - before
    assert "coro=<get_page()" in repr(task)
    call.close()
    await turns()
    assert task.cancelled()
    assert "coro=<get_page()" in repr(task)


async def test_slow_callback_warning(
    cached: Decorate, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow() -> None:
        loop.slow_callback_duration = -1.0  # its last step is slow, whatever it takes

    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    function = cached(slow)
    duration = loop.slow_callback_duration
    loop.slow_callback_duration = 1000.0
    try:
        await function()
        loop.slow_callback_duration = duration
        await turns()
    finally:
        loop.set_debug(False)
        loop.slow_callback_duration = duration
    messages = [record.getMessage() for record in caplog.records]
    assert any(slow.__qualname__ in m and __file__ in m for m in messages), messages


async def test_exception_never_retrieved(
    cached: Decorate, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_in_cleanup() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ValueError("cleanup")  # this is where it fails

    caller, task = await begin_call(cached(fail_in_cleanup)())
    caller.cancel()
    await turns()
    del task
    gc.collect()
    collect()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "exception was never retrieved" in record.getMessage()
    assert fail_in_cleanup.__qualname__ in record.getMessage()
    assert f'File "{__file__}", line {line_of("# this is where it fails")}' in caplog.text
    assert "coro=<fail_in_cleanup" in record.getMessage().replace(
        fail_in_cleanup.__qualname__, "fail_in_cleanup"
    )


if TYPE_CHECKING:
    _Task = asyncio.Task[Any]
else:
    _Task = asyncio.Task  # not subscriptable in 3.8


class CountingTask(_Task):
    """A task that counts its callbacks."""

    callbacks = 0

    def add_done_callback(self, *args: Any, **options: Any) -> None:
        self.callbacks += 1
        super().add_done_callback(*args, **options)


class LikeWebLoop(asyncio.SelectorEventLoop):
    """As the loop of Pyodide, it reports a failure if its own callback is the only one.

    It does so whether the exception has been retrieved or not.
    """

    def create_task(self, coro: Any, **options: Any) -> Any:
        task = CountingTask(coro, loop=self, **options)
        task.add_done_callback(self.report)
        return task

    def report(self, task: Any) -> None:
        if task.callbacks == 1 and not task.cancelled() and task.exception() is not None:
            self.call_exception_handler({"exception": task.exception()})


def test_a_loop_that_reports_what_nobody_awaits() -> None:
    @alru_cache
    async def fail(steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        raise ValueError(steps)

    answers = iter([1])

    @alru_cache(ttl=60, refresh=0)
    async def fail_later() -> int:
        for answer in answers:
            return answer
        raise ValueError

    async def main() -> None:
        for steps in 0, 1, 2:
            with pytest.raises(ValueError, match=str(steps)):
                await fail(steps)
            callers = [fail(steps) for _ in range(3)]
            received = await asyncio.gather(*callers, return_exceptions=True)
            assert list(map(repr, received)) == [f"ValueError({steps})"] * 3
        assert reported == []
        assert [await fail_later(), await fail_later()] == [1, 1]
        await turns()

    reported: List[Any] = []
    loop = LikeWebLoop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    loop.run_until_complete(main())
    loop.close()
    (context,) = reported
    assert "refresh failed" in context["message"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph is new in 3.14")
class TestCallGraph:
    """Which task waits for which."""

    @staticmethod
    def awaited_by(task: Any) -> Any:
        graph = getattr(asyncio, "capture_call_graph")(task)  # noqa: B009
        return {caller.future for caller in graph.awaited_by}

    async def test_callers_are_shown_as_long_as_they_wait(self, cached: Decorate) -> None:
        function = cached(get_page)
        first, task = await begin_call(function(1))
        assert self.awaited_by(task) == {first}
        second = asyncio.ensure_future(function(1))
        (third,) = await begin(function(1))
        assert self.awaited_by(task) == {first, second, third}
        second.cancel()
        await turns()
        assert self.awaited_by(task) == {first, third}
        await end(first)
        await asyncio.wait([third])
        assert third.exception() is not None
        assert self.awaited_by(task) == set()

    async def test_a_call_that_waits_for_another(self, cached: Decorate) -> None:
        inner = cached(get_page)

        async def outer(x: int) -> Any:
            return await inner(x)

        before = asyncio.all_tasks()
        (caller,) = await begin(cached(outer)(1))
        tasks: Any = asyncio.all_tasks() - before - {caller}
        by_name = {task.get_coro().__name__.rpartition(".")[2]: task for task in tasks}
        assert self.awaited_by(by_name["get_page"]) == {by_name["outer"]}
        assert self.awaited_by(by_name["outer"]) == {caller}
        await end(caller)

    @pytest.mark.parametrize("how", ["answer", "cancelled"])
    async def test_no_reference_is_left(self, cached: Decorate, how: str) -> None:
        async def wait() -> None:
            gates.append(asyncio.get_running_loop().create_future())
            await gates[-1]

        function = cached(wait)
        patient, task = await begin_call(function())
        (caller,) = await begin(function())
        if how == "cancelled":
            caller.cancel()
            await turns()
        else:
            gates[0].set_result(None)
            await caller
            await turns()  # asyncio holds what was awaited last until the next step
        reference = weakref.ref(caller)
        del caller
        collect()
        assert reference() is None
        assert patient not in self.awaited_by(task) or how == "cancelled"
        if not gates[0].done():
            gates[0].set_result(None)
        await patient


def objects(kind: str) -> List[str]:
    """What the library's objects of a kind show in a debugger."""
    gc.collect()
    things = [thing for thing in gc.get_objects() if type(thing).__name__ == kind]
    return [repr(thing) for thing in things if type(thing).__module__.startswith("async_lru.")]


@on_clock
async def test_what_a_debugger_shows(
    clock: ClockLoop, source: Source, timed: Decorate
) -> None:
    """Each entry, cache and call shows its state."""
    function = timed(ttl=10, refresh=4)

    class Box:
        @alru_cache(per_instance=True)
        async def method(self) -> int:
            return 1

    async def fail() -> None:
        raise ValueError("no")

    failing = timed(fail)
    box = Box()
    await box.method()
    (caller,) = await begin(function("key"))
    assert "<Entry ('key',), in flight>" in objects("Entry")
    assert "<Call of Source.fetch, in flight, 1 waiters>" in objects("Call")
    assert "<Cache of 1, 0 hits, 1 misses>" in objects("Cache")
    source.works[0].set_result("x")
    await caller
    assert "<Entry ('key',), fresh>" in objects("Entry")
    clock.now += 5
    assert "<Entry ('key',), due>" in objects("Entry")
    await function("key")
    await turns()
    assert "<Call of Source.fetch, background, 0 waiters>" in objects("Call")
    source.works[1].set_result("y")
    await turns()
    clock.now += 10
    assert "<Entry ('key',), expired>" in objects("Entry")
    with pytest.raises(ValueError, match="no") as failed:
        await failing()
    del failed
    assert not any("fail" in text for text in objects("Call"))
    assert "<Caches of Source.fetch, 1 loops>" in objects("Caches")
    assert "<Shared of Source.fetch, 1 living>" in objects("Shared")
    assert any(text.endswith("Box.method, 1 living>") for text in objects("PerInstance"))
