"""What release 3.0.0 did wrong, one test for each.

What may crash or hang has a process of its own. These are elsewhere:

- the second caller of a failure does not see where it failed: ``test_hits``
- a circle hangs, and poisons its keys: ``test_hits``
- a result of an idle loop is kept though it was cleared: ``test_hits``
- a user's attribute breaks the function, or is hidden: ``test_decorating``
- a deep copy of a bound method is the bare function: ``test_decorating``
- a falsy class becomes ``NoneType``: ``test_decorating``
- tasks, stacks and warnings show a coroutine of ours: ``test_shown``
- ``KeyError`` out of the methods of a key that call the cache: ``test_interference``
- a bound method is not awaited by FastAPI: ``test_habits``
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import weakref
from typing import Any, Callable, ClassVar, List

import pytest

from async_lru import alru_cache

from .helpers import FREE_THREADED, PYPY, Thing, collect, identity, run_program, turns
from .interference import line_by_line, traced_by

KEYS = """
import asyncio, gc, logging, os, signal, sys, threading, warnings
from async_lru import alru_cache
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

class Key:
    moment = staticmethod(lambda: None)
    def __init__(self, number):
        self.number = number
    def __hash__(self):
        Key.moment()
        return hash(self.number)
    def __eq__(self, other):
        Key.moment()
        return isinstance(other, Key) and self.number == other.number

def at(nth, action):
    "Have it done at the nth use of a key; the list says whether it has been."
    uses, done = [], []
    def moment():
        uses.append(1)
        if len(uses) == nth:
            done.append(1)
            action()
    Key.moment = staticmethod(moment)
    return done
"""


def survives(program: str) -> None:
    """A program of its own, with the key that calls back, gets to its last line."""
    result = run_program(KEYS, program, dev=False)
    assert (result.returncode, result.stdout) == (0, "survived\n"), result.stderr


def test_two_threads_at_a_closed_loop() -> None:
    """One invalidates, and is held up as it compares keys; the other clears meanwhile."""
    survives("""
        @alru_cache(maxsize=None)
        async def function(key): return key

        async def fill():
            for number in range(20):
                await function(Key(number))

        def clear():
            thread = threading.Thread(target=function.cache_clear)
            thread.start()
            thread.join(1)

        for nth in range(1, 20):
            asyncio.run(fill())
            at(nth, clear)
            function.cache_invalidate(Key(7))
            Key.moment = staticmethod(lambda: None)
            function.cache_clear()
            assert function.cache_info() == (0, 0, None, 0), nth
        print("survived")
    """)


@pytest.mark.skipif(not FREE_THREADED, reason="not a free-threaded build")
def test_many_threads_at_a_closed_loop() -> None:
    survives("""
        import time
        @alru_cache(maxsize=None)
        async def function(key): return key

        async def fill():
            for number in range(200):
                await function(number)

        def invalidate():
            go.wait()
            for number in range(200):
                function.cache_invalidate(number)

        def clear():
            go.wait()
            time.sleep(0.0003)  # amid the others
            function.cache_clear()

        end = time.monotonic() + 2
        while time.monotonic() < end:
            asyncio.run(fill())
            go = threading.Barrier(3)
            threads = [threading.Thread(target=t) for t in (invalidate, invalidate, clear)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert function.cache_info() == (0, 0, None, 0)
        print("survived")
    """)


@pytest.mark.parametrize("how", ["cache_invalidate", "cache_clear", "cache_close"])
def test_a_cache_that_was_cleared_does_not_serve_on(how: str) -> None:
    """It was cleared by the end of a key that another thread had invalidated."""

    class Key:
        armed: ClassVar[List[Callable[[], None]]] = []

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key)

        def __del__(self) -> None:
            if Key.armed:
                Key.armed.pop()()

    version = 1

    async def read(key: object) -> int:
        return version

    function: Any = alru_cache(read)

    async def main() -> None:
        nonlocal version
        await function(Key())
        Key.armed.append(function.cache_clear)
        like = Key()
        thread = threading.Thread(target=function.cache_invalidate, args=[like])
        thread.start()
        thread.join()
        await function("x")
        collect()
        version = 2
        if how == "cache_close":
            await function.cache_close()
            with pytest.raises(RuntimeError, match="closed"):
                await function("x")
        else:
            getattr(function, how)(*("x",) * (how == "cache_invalidate"))
            assert await function("x") == 2
            assert function.cache_contains("x")
        Key.armed.clear()

    asyncio.run(main())


SIGNAL = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")


@SIGNAL
@pytest.mark.parametrize("options", ["", "ttl=100", "maxsize=None"])
def test_a_signal_while_a_key_is_used(options: str) -> None:
    survives(f"""
        @alru_cache({options})
        async def function(key): return key.number

        signal.signal(signal.SIGUSR1, lambda *_: function.cache_clear())

        async def main():
            for nth in range(1, 60):
                done = at(nth, lambda: os.kill(os.getpid(), signal.SIGUSR1))
                for _ in range(3):
                    assert await function(Key(1)) == 1
                    assert await function(Key(2)) == 2
                assert function.cache_info().currsize <= 2
                if not done:
                    print("survived" if nth > 1 else "nothing happened")
                    break

        asyncio.run(main())
    """)


def at_each_line(action: Callable[[], None], step: Callable[[], Any]) -> int:
    """Do it at each line of the library in turn, in a step made anew; the number of them."""
    loop = asyncio.new_event_loop()
    lines = 0
    try:
        while True:
            seen: List[None] = []

            def moment(seen: List[None] = seen, nth: int = lines) -> None:
                seen.append(None)
                if len(seen) - 1 == nth:
                    action()

            coverage = sys.gettrace()
            with traced_by(line_by_line(moment, coverage)):
                loop.run_until_complete(step())
            if len(seen) <= lines:
                return lines
            lines += 1
    finally:
        loop.close()


@SIGNAL
@pytest.mark.parametrize("how", ["clear", "invalidate"])
@pytest.mark.parametrize("options", [{}, {"ttl": 100, "jitter": 1}])
def test_a_signal_at_any_line(how: str, options: Any) -> None:
    """``KeyError`` out of a hit, ``IndexError`` out of a miss."""
    function: Any = None

    def handle(*_: Any) -> None:
        if function is None:  # it is being decorated
            return
        if how == "clear":
            function.cache_clear()
        else:
            function.cache_invalidate(1)
            function.cache_invalidate(3)

    async def step() -> None:
        nonlocal function
        function = alru_cache(maxsize=2, **options)(identity)
        for x in 1, 1, 2, 3:
            assert await function(x) == x
        function.cache_invalidate(2)
        await turns(2)
        await function.cache_close()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        lines = at_each_line(lambda: os.kill(os.getpid(), signal.SIGUSR1), step)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert lines > 20


def test_the_collector_clears_amid_a_hit() -> None:
    """It finds a cycle whose finalizer does, while a key is hashed."""
    survives("""
        @alru_cache
        async def function(key): return key.number

        class Session:
            def __init__(self): self.me = self
            def __del__(self): function.cache_clear()

        def collect():
            Session()
            gc.collect()

        async def main():
            for nth in range(1, 60):
                done = at(nth, collect)
                for _ in range(3):
                    assert await function(Key(1)) == 1
                if not done:
                    print("survived" if nth > 1 else "nothing happened")
                    break

        asyncio.run(main())
    """)


def test_a_key_that_ends_may_wait_for_another_thread() -> None:
    """For a lock of its own, say, whose holder looks at the cache."""
    looked: List[bool] = []

    class Key:
        armed = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key)

        def __del__(self) -> None:
            if Key.armed:
                Key.armed = False
                thread = threading.Thread(target=functions[0].cache_info)
                thread.start()
                thread.join(1)
                looked.append(not thread.is_alive())

    async def main() -> None:
        (function,) = functions
        await function(Key())
        like = Key()
        Key.armed = True
        function.cache_invalidate(like)
        await turns()
        collect()
        Key.armed = False

    async def work(key: object) -> None: ...

    functions: List[Any] = [alru_cache(work)]
    asyncio.run(main())
    assert looked == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_compares_keys() -> None:
    survives("""
        busy, free = threading.Event(), threading.Event()

        @alru_cache
        async def function(key): return key.number

        def hold():
            busy.set()
            free.wait(10)

        asyncio.run(function(Key(1)))
        for nth in 1, 2, 3:
            busy.clear(), free.clear()
            at(nth, hold)
            thread = threading.Thread(
                target=lambda: (function.cache_contains(Key(1)), busy.set()))
            thread.start()
            busy.wait(10)
            Key.moment = staticmethod(lambda: None)
            pid = os.fork()
            if not pid:
                signal.alarm(3)
                assert asyncio.run(function(Key(1))) == 1
                function.cache_info()
                function.cache_clear()
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            free.set()
            thread.join()
            assert status == 0, (nth, status)
        print("survived")
    """)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks_that_run_out_of_stack() -> None:
    """Wherever the stack ends."""
    survives("""
        async def deeper(n, function):
            return await deeper(n - 1, function) if n else await function(5000)

        def trial(shift):
            @alru_cache(maxsize=None)
            async def function(n):
                return 0 if n == 0 else 1 + await function(n - 1)

            async def main():
                asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
                try:
                    await asyncio.wait_for(deeper(shift, function), 2)
                except BaseException as error:
                    return type(error).__name__

            found = asyncio.run(main()), function.cache_parameters()["tasks"]
            assert found == ("RecursionError", 0), (shift, found)

        for shift in range(16):
            trial(shift)
        print("survived")
    """)


def test_loops_that_nobody_closed_are_not_kept() -> None:
    survives("""
        import weakref
        from async_lru import AlruCacheLoopResetWarning

        @alru_cache(maxsize=4)
        async def function(x): return bytearray(1000)

        loops = []

        def use():
            loop = asyncio.new_event_loop()
            loops.append(weakref.ref(loop))
            loop.run_until_complete(function(1))

        def run(target):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

        def alive():
            for _ in range(3):
                gc.collect()
            return sum(loop() is not None for loop in loops)

        def descriptors():
            return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

        before = descriptors()
        for _ in range(20):
            run(use)
        assert alive() <= 1, alive()  # the one used last
        assert descriptors() - before <= 3, (before, descriptors())
        assert function.cache_info()[:2] == (0, alive())
        warnings.simplefilter("error", AlruCacheLoopResetWarning)
        asyncio.run(function(1))  # without a warning: none was closed
        assert alive() == 0
        print("survived")
    """)


Loop: Any = asyncio.SelectorEventLoop


class Counting(Loop):  # type: ignore[misc]
    """Counts its turns."""

    turns = 0

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()


def added(waits: int) -> int:
    """The turns that a miss adds to those of the function."""
    if sys.version_info < (3, 12):
        return 3  # the task starts, its callback runs, the caller goes on
    return 2 if waits else 0  # started eagerly


@pytest.mark.parametrize("options", [{}, {"ttl": 60}, {"maxsize": 0}])
@pytest.mark.parametrize("waits", [0, 1, 3])
def test_turns_of_the_loop_that_a_miss_adds(waits: int, options: Any) -> None:
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
        assert await count(function) == waits + added(waits)
        if options != {"maxsize": 0}:
            assert await count(function) == 0
        await function.cache_close()

    loop.run_until_complete(main())
    loop.close()
    gc.collect()


# Found in the core of 3.1, before its release.


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
@pytest.mark.parametrize("how", ["failure", "clear"])
async def test_a_call_that_goes_on_keeps_nothing_of_what_it_awaited(how: str) -> None:
    references: List[Any] = []

    async def inner(thing: Thing) -> Thing:
        references.append(weakref.ref(thing))
        if how == "failure":
            raise ValueError
        return thing

    async def outer() -> bool:
        with contextlib.suppress(ValueError):
            await cached_inner(Thing())
        cached_inner.cache_clear()
        await turns()
        collect()
        return references[0]() is None

    cached_inner: Any = alru_cache(inner, ttl=1000)
    cached_outer: Any = alru_cache(outer)
    assert await cached_outer()


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_a_refresh_that_says_zero_leaves_no_cycle(no_collector: None) -> None:
    lifetimes = [1000.0, 1000.0, 0.0]

    class Client:
        @alru_cache(ttl=lambda _: lifetimes.pop(0), refresh=0, per_instance=True)
        async def get(self, x: str) -> Thing:
            return Thing()

    client = Client()
    reference = weakref.ref(await client.get("stays"))
    await client.get("goes")
    await client.get("goes")  # which begins a refresh
    await turns()
    del client
    await turns()
    collect()
    assert reference() is None


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_a_call_abandoned_before_its_first_step_leaves_no_cycle(
    no_collector: None,
) -> None:
    async def work(thing: Thing) -> None:
        await asyncio.Event().wait()

    function: Any = alru_cache(work)
    thing = Thing()
    reference = weakref.ref(thing)
    call = function(thing)
    del thing
    call.send(None)
    call.close()
    del call
    await turns()
    collect()
    assert reference() is None


async def test_close_cancels_once() -> None:
    """Not again, when what is being cleaned up has closed another cache."""
    entered, gate = asyncio.Event(), asyncio.Event()
    cleaned: List[str] = []

    async def slow(x: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await other.cache_close(wait=True)
            entered.set()
            await gate.wait()
            cleaned.append("cleaned up")

    async def nothing() -> None:
        await gate.wait()

    function: Any = alru_cache(slow)
    other: Any = alru_cache(nothing)
    callers = [asyncio.ensure_future(function(x)) for x in range(2)]
    callers.append(asyncio.ensure_future(other()))
    await turns()
    closing = asyncio.ensure_future(function.cache_close())
    await turns()
    gate.set()
    await asyncio.wait([closing, *callers])
    assert cleaned == ["cleaned up"] * 2


async def test_closings_that_wait_for_each_other_through_a_third_function() -> None:
    closing, late = asyncio.Event(), asyncio.Event()

    async def first(x: str) -> str:
        if x == "closes":
            await late.wait()
            await one.cache_close(wait=True)
            return x
        return await second()  # type: ignore[no-any-return]

    async def closes_third() -> str:
        closing.set()
        await three.cache_close(wait=True)  # which waits for the one that closes the first
        return "second"

    async def third() -> str:
        return await one("closes")  # type: ignore[no-any-return]

    one: Any = alru_cache(first)
    second: Any = alru_cache(closes_third)
    three: Any = alru_cache(third)
    callers = [asyncio.ensure_future(call) for call in (three(), one("waits"))]
    await closing.wait()
    await turns()
    late.set()
    await asyncio.wait_for(asyncio.wait(callers), 5)
    assert [caller.result() for caller in callers] == ["closes", "second"]
