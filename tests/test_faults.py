"""What goes wrong around the library: it neither hangs, nor speaks up."""

import asyncio
import contextlib
import dataclasses
import functools
import gc
import re
import weakref
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import PYPY, Decorate, Source, Thing, collect, run_program, turns

BEGIN = """
import asyncio, sys
from async_lru import alru_cache

@alru_cache(ttl=1000)
async def done(): return 1

@alru_cache
async def slow(): await asyncio.sleep(1000)

async def start(unstarted=False):
    await done()
    call = slow()
    call.send(None)
    if not unstarted:
        await asyncio.sleep(0)
    return call
"""


run = functools.partial(run_program, BEGIN)


@pytest.mark.parametrize("unstarted", [False, True])
def test_loop_closed_with_works_in_flight(unstarted: bool) -> None:
    program = f"""
        loop = asyncio.new_event_loop()
        call = loop.run_until_complete(start({unstarted}))
        loop.close()
        call.close()
        del call, loop
        async def main():
            await done()
            assert slow.cache_parameters()["tasks"] == 0
        import warnings
        warnings.simplefilter("ignore")
        asyncio.run(main())
    """
    result = run(program)
    assert (result.returncode, result.stderr) == (0, "")


def test_loop_closed_on_callers() -> None:
    """The garbage collector takes the work before those that came to it later."""
    program = """
        import gc
        loop = asyncio.new_event_loop()
        callers = []
        for _ in range(3):
            callers.append(loop.create_task(slow()))
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        del loop, callers, slow
        for _ in range(20):  # PyPy finalizes what is in a cycle one by one
            gc.collect()
    """
    result = run(program)
    assert result.returncode == 0
    # That of asyncio, about the callers, which are the program's own.
    assert result.stderr.count("Task was destroyed but it is pending") == 3
    assert "Event loop is closed" not in result.stderr


@pytest.mark.parametrize("unstarted", [False, True])
def test_interpreter_exit_with_works_in_flight(unstarted: bool) -> None:
    program = f"""
        loop = asyncio.new_event_loop()
        call = loop.run_until_complete(start({unstarted}))
        loop.close()
    """
    result = run(program)
    assert (result.returncode, result.stderr) == (0, "")


def test_interpreter_exit_with_an_instance_that_a_thread_has_used() -> None:
    """Where there is no global lock it is freed late: names of modules are gone by then."""
    done = run_program(
        """
        import asyncio, threading
        from async_lru import alru_cache

        class Client:
            @alru_cache(per_instance=True, ttl=60)
            async def get(self, x):
                return x

        client = Client()
        thread = threading.Thread(target=lambda: print(asyncio.run(client.get(1))))
        thread.start()
        thread.join()
        """
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


def test_interpreter_exit_with_a_loop_in_a_daemon_thread() -> None:
    program = """
        import threading
        started = threading.Event()
        async def main():
            call = await start()
            started.set()
            await asyncio.sleep(1000)
        threading.Thread(target=asyncio.run, args=[main()], daemon=True).start()
        started.wait()
    """
    result = run(program)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("error", ["ValueError", "KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("place", ["the program", "a caller", "the work"])
def test_run_cut_short(error: str, place: str) -> None:
    program = f"""
        @alru_cache
        async def fail():
            await asyncio.sleep(0)
            raise {error}

        async def caller():
            await asyncio.sleep(0)
            if {place!r} == "the work":
                await fail()
            raise {error}

        async def main():
            waiting = asyncio.ensure_future(slow())
            if {place!r} == "the program":
                await asyncio.sleep(0)
                raise {error}
            await asyncio.gather(caller(), waiting)

        try:
            asyncio.run(main())
        except {error}:
            print("as expected")
        assert slow.cache_parameters()["tasks"] == 0
    """
    result = run(program)
    assert (result.returncode, result.stdout) == (0, "as expected\n")
    # Of its own main task asyncio may have something to say.
    assert not re.search(r"coro=<(fail|slow)\(\)", result.stderr)
    assert "destroyed" not in result.stderr
    assert "never awaited" not in result.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_leaves_the_loop_is_not_logged_as_well(error: Any, caplog: Any) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    function: Any = alru_cache(fail)

    async def main() -> None:
        await asyncio.wait([asyncio.ensure_future(function())])

    loop = asyncio.new_event_loop()
    with pytest.raises(error):
        loop.run_until_complete(main())
    for task in asyncio.all_tasks(loop):  # as asyncio.run does; the caller has yet to wake up
        task.cancel()
    loop.run_until_complete(turns())
    loop.close()
    gc.collect()
    assert fail.__qualname__ not in caplog.text
    assert function.cache_parameters()["tasks"] == 0


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


async def test_a_factory_of_tasks_of_another_class(source: Source, cached: Decorate) -> None:
    class Named(asyncio.Task):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
        """A task that somebody else has thought of."""

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        return Named(coroutine, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(factory)
    function = cached()
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    await turns()
    assert sum(isinstance(task, Named) for task in asyncio.all_tasks()) == 3
    callers[0].cancel()
    source.works[0].set_result("x")
    assert await callers[1] == "x"
    asyncio.get_running_loop().set_task_factory(None)


@pytest.mark.parametrize("how", ["result", "failure", "cancelled", "cancelled at once"])
async def test_a_factory_that_wraps_the_coroutine(
    source: Source, cached: Decorate, how: str
) -> None:
    """As those that trace do; this one is not done when the work is, or never starts it."""

    async def traced(coroutine: Any) -> Any:
        try:
            return await coroutine
        finally:
            await turns(2)

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        return asyncio.Task(traced(coroutine), loop=loop, **options)

    function = cached()
    callers = [asyncio.ensure_future(function(1)) for _ in range(2)]
    asyncio.get_running_loop().set_task_factory(factory)
    before = asyncio.all_tasks()
    await turns(1)
    asyncio.get_running_loop().set_task_factory(None)
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
    outcomes = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 5)
    if how == "result":
        assert outcomes == ["x", "x"]
    else:
        kind = ValueError if how == "failure" else asyncio.CancelledError
        assert [type(outcome) for outcome in outcomes] == [kind] * 2
    assert function.cache_contains(1) == (how == "result")
    assert function.cache_parameters()["tasks"] == 0


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def work(x: int) -> int:
        await turns(5 if x == 2 else 1)
        if x < 0:
            raise ValueError(x)
        return x

    function: Any = alru_cache(maxsize=2, ttl=1000)(work)

    async def main() -> None:
        assert await asyncio.gather(*[function(1) for _ in range(100)]) == [1] * 100
        with pytest.raises(ValueError, match="-1"):
            await function(-1)
        caller = asyncio.ensure_future(function(2))
        await asyncio.sleep(0)
        caller.cancel()
        await turns()
        assert function.cache_info() == (99, 3, 2, 1)
        await function.cache_close()

    loop = uvloop.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


def test_a_function_that_goes_with_its_loop() -> None:
    """Made, used and let go in one place; nothing is said of the work that was in flight."""

    def use() -> None:
        async def forever() -> None:
            await asyncio.Event().wait()

        function: Any = alru_cache(forever)

        async def begin() -> None:
            caller = function()
            caller.send(None)
            await turns()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.close()

    use()
    gc.collect()


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    name: str


async def test_an_exception_that_cannot_be_changed() -> None:
    @alru_cache
    async def find(name: str) -> None:
        await asyncio.sleep(0)
        raise FrozenError(name)

    callers = [asyncio.ensure_future(find("x")) for _ in range(2)]
    outcomes = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 5)
    assert outcomes == [FrozenError("x")] * 2
    assert find.cache_info() == (1, 1, 128, 0)
    await asyncio.wait_for(find.cache_close(wait=True), 5)


class Instance:
    def __init__(self) -> None:
        self.tasks: List[Any] = []

    @alru_cache(ttl=1000, per_instance=True)
    async def get(self, x: int) -> Thing:
        self.tasks.append(asyncio.current_task())
        return Thing()


@pytest.mark.skipif(PYPY, reason="the collector takes the instance and what it kept at once")
async def test_an_ended_call_keeps_no_results_of_its_instance() -> None:
    instance = Instance()
    result = weakref.ref(await instance.get(1))
    await instance.get(2)
    task = instance.tasks[1]
    del instance
    await turns()
    collect()
    assert task.done()
    assert result() is None


async def test_a_call_keeps_no_results_of_an_instance_that_it_has_asked() -> None:
    results: List[Any] = []

    @alru_cache
    async def ask() -> None:
        instance = Instance()
        results.append(weakref.ref(await instance.get(1)))
        instance.tasks.clear()
        del instance
        await turns()
        collect()
        results.append(results[0]())

    await ask()
    assert results[1] is None


@pytest.mark.skipif(PYPY, reason="a frame keeps the exceptions that it has caught")
async def test_a_call_keeps_nothing_of_a_failed_one_that_it_has_awaited() -> None:
    ending = asyncio.get_running_loop().create_future()
    things: List[Any] = []

    @alru_cache
    async def fail() -> None:
        local = Thing()
        things.append(weakref.ref(local))
        await ending
        raise ValueError("no")

    @alru_cache
    async def ask() -> None:
        with contextlib.suppress(ValueError):
            await fail()
        await turns()
        collect()
        things.append(things[0]())

    asking = asyncio.ensure_future(ask())
    await turns()
    other = asyncio.ensure_future(fail())
    await turns()
    ending.set_result(None)
    ending.add_done_callback(lambda _: other.cancel())  # in the turn in which it fails
    await asyncio.wait([asking, other])
    await asking
    assert things[1] is None


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


def test_a_loop_that_wraps_what_it_makes_tasks_of() -> None:
    class Loop(asyncio.SelectorEventLoop):
        def create_task(self, coro: Any, **options: Any) -> Any:
            async def traced() -> Any:
                return await coro

            return asyncio.Task(traced(), loop=self, **options)

    function: Any = alru_cache(asyncio.sleep)

    async def main() -> None:
        caller = asyncio.ensure_future(function(0, "x"))
        tasks = asyncio.all_tasks()
        await asyncio.sleep(0)
        (work,) = asyncio.all_tasks() - tasks
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(caller, 5)
        assert await function(0, "x") == "x"

    loop = Loop()
    loop.run_until_complete(main())
    loop.close()


async def test_an_exception_keeps_nothing_that_is_cleared() -> None:
    async def make(x: int) -> Thing:
        return Thing()

    @alru_cache
    async def circle() -> None:
        await circle()

    get: Any = alru_cache(ttl=1000, refresh=0, key=lambda *_: 1)(make)
    result = weakref.ref(await get(1))
    kept: List[BaseException] = []
    for wrong in (get(1, 2), circle()):
        with pytest.raises((TypeError, RuntimeError)) as caught:
            await wrong
        kept.append(caught.value)
    get.cache_clear()
    await turns()
    collect()
    assert result() is None
    assert len(kept) == 2
