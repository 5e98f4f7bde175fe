"""Programs, loops and functions that end while calls are in flight."""

import asyncio
import functools
import gc
import re
import sys
import weakref
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import (
    PYPY,
    run_program,
    turns,
)

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
    """The collector may free the call's task before the tasks of its callers."""
    program = """
        import gc
        loop = asyncio.new_event_loop()
        callers = []
        for _ in range(3):
            callers.append(loop.create_task(slow()))
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        del loop, callers, slow
        for _ in range(20):  # PyPy finalizes the objects of a cycle one by one
            gc.collect()
    """
    result = run(program)
    assert result.returncode == 0
    # The message is asyncio's, about the callers, which are the program's own tasks.
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
    # asyncio may complain of its own main task.
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


def test_a_function_that_is_freed_with_its_loop() -> None:
    """Nothing is logged about the call that was in flight."""

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


@pytest.mark.skipif(PYPY, reason="it frees objects later")
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="its futures refer to their awaiters")
def test_a_caller_whose_loop_is_closed_as_it_is_woken_needs_no_collector() -> None:
    loop: Any = asyncio.new_event_loop()
    gate = loop.create_future()

    async def wait() -> None:
        await gate

    function: Any = alru_cache(wait)

    async def call() -> None:
        await function()

    def take_turns(count: int) -> None:
        for _ in range(count):
            loop.stop()
            loop.run_forever()

    loop.set_exception_handler(lambda *_: None)  # a pending task is destroyed
    task = loop.create_task(call())
    take_turns(4)
    gate.set_result(None)
    take_turns(2)  # one for the work; in the next its callback wakes the caller
    freed = weakref.ref(task)
    assert not task.done()
    assert function.cache_info().currsize == 1
    assert function.cache_parameters()["tasks"] == 0
    gc.disable()
    try:
        del task
        loop.close()
        assert freed() is None
    finally:
        gc.enable()


def test_a_caller_that_outlives_its_loop() -> None:
    """The call is freed together with its loop, which was closed too early."""

    async def forever() -> None:
        await asyncio.Event().wait()

    function: Any = alru_cache(forever)
    callers: List[Any] = []

    async def begin() -> None:
        callers.append(function())
        callers[-1].send(None)
        await turns()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    assert function.cache_parameters()["tasks"] == 1
    loop.close()
    del loop
    callers.clear()
    gc.collect()
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.skipif(PYPY, reason="it does not close the coroutines that it collects")
def test_a_call_that_outlives_its_loop_is_run_no_more() -> None:
    ended: List[int] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    function: Any = alru_cache(forever)
    kept: List[Any] = []

    async def begin() -> None:
        caller = function()
        caller.send(None)
        await turns()
        kept.extend([caller, asyncio.all_tasks() - {asyncio.current_task()}])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    caller, calls = kept
    caller.close()  # the last one
    assert function.cache_parameters()["tasks"] == 0
    assert len(calls) == 1
    assert ended == []
    del caller, calls
    kept.clear()
    function.cache_clear()
    gc.collect()
    assert ended == [1]


def test_interpreter_exit_with_an_instance_that_a_thread_has_used() -> None:
    """A free-threaded build frees it late, when the modules have no globals any more."""
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
