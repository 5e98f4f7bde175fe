"""What test modules share: functions, event loops, threads and time under control."""

import asyncio
import contextlib
import functools
import gc
import itertools
import os
import subprocess
import sys
import sysconfig
import textwrap
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Generator, Iterator, List, Tuple, TypeVar, cast
from unittest import mock

import pytest

from async_lru import alru_cache

PYPY = sys.implementation.name == "pypy"
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# Whether the longest tests try every case, and not one in so many. In CI one Python does.
THOROUGH = bool(os.environ.get("THOROUGH"))
# In seconds, for what takes a moment unless it hangs: long, because a machine may be busy.
LIMIT = 300

Decorate = Callable[..., Any]
Logged = List[Dict[str, Any]]
_Test = TypeVar("_Test", bound=Callable[..., Any])


# Functions to decorate


class Source:
    """Its ``fetch`` is a coroutine function whose calls end when, and as, the test says."""

    def __init__(self) -> None:
        self.calls: List[Tuple[Any, ...]] = []
        self.works: List["asyncio.Future[Any]"] = []

    async def fetch(self, *args: Any) -> Any:
        work = asyncio.get_running_loop().create_future()
        self.calls.append(args)
        self.works.append(work)
        return await work


class Counter:
    """Counts the calls that are run, whatever their arguments."""

    def __init__(self) -> None:
        self.calls = 0

    async def call(self, /, *args: Any, **kwargs: Any) -> int:
        self.calls += 1
        return self.calls


class Client:
    """Has methods with a cache for each instance, and can be pickled, as can its results."""

    def __init__(self, name: Any = "client") -> None:
        self.name = name
        self.calls: List[Any] = []

    @alru_cache(per_instance=True)
    async def get(self, x: Any) -> Any:
        self.calls.append(x)
        return self.name, x

    @alru_cache(per_instance=True, ttl=1000)
    async def expiring(self, x: Any) -> Any:
        self.calls.append(x)
        return self.name, x


def added(instance: Any) -> List[str]:
    """The names under which an instance keeps caches."""
    return [name for name in vars(instance) if name.startswith("_cache")]


class Ttl:
    """A ``ttl`` function that answers, and does, what the test says."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.results: List[Any] = []
        self.does: Any = lambda: None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        assert not kwargs
        (result,) = args  # alone
        self.results.append(result)
        self.does()
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


async def identity(x: Any) -> Any:
    return x


async def this_loop(x: int = 0) -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def forever(*args: Any) -> None:
    await asyncio.Event().wait()


class Thing:
    """An object that can be weakly referenced."""


# Steps of a test


async def turns(count: int = 5) -> None:
    """Let everything that is ready run, and what that makes ready, and so on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def begin(*calls: Any) -> List["asyncio.Task[Any]"]:
    """Make a task of each call, and let all of them run up to where they wait."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    await turns()
    return tasks


def at_once(call: Any) -> Any:
    """The result of a call that does not suspend."""
    try:
        call.send(None)
    except StopIteration as answer:
        return answer.value
    call.close()
    pytest.fail("suspended")


async def settled(source: Source, call: Any, result: Any) -> None:
    """Let a call start a run of ``source.fetch``, and let the run return."""
    (caller,) = await begin(call)
    source.works[-1].set_result(result)
    assert await caller is result


class Done(asyncio.Future):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
    """What stands for a task that was run at once; asyncio gives it a name."""

    def set_name(self, name: object) -> None: ...


@types.coroutine
def resume(begun: Any, waits_for: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that was begun by ``send``, in the task that awaits this."""
    yield waits_for
    return (yield from begun)


async def wait_for(awaitable: Any) -> Any:
    return await awaitable


def start_at_once(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
    """Be a task factory that is eager on every Python, within the task that calls it."""
    done = Done(loop=loop)
    try:
        waits_for = coroutine.send(None)
    except StopIteration as stop:
        done.set_result(stop.value)
    except Exception as error:  # noqa: BLE001
        done.set_exception(error)
    else:
        return asyncio.Task(wait_for(resume(coroutine, waits_for)), loop=loop, **options)
    return done


@contextlib.contextmanager
def tasks_made_by(factory: Any) -> Iterator[None]:
    """Give the running loop a task factory for a while."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(None)


def make_no_task(*_: Any, **__: Any) -> Any:
    """Be a task factory that fails."""
    raise OSError("no more tasks")


def timers(loop: Any) -> List[asyncio.TimerHandle]:
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def collect() -> None:
    """Let go of what nothing refers to, where reference counts alone do not.

    PyPy has none. Free-threaded builds delay some, where several threads held an object.
    """
    if PYPY or FREE_THREADED:
        for _ in range(10):  # each frees what the finalizers of the one before let go of
            gc.collect()


def objects() -> int:
    """How many objects there are. On PyPy only those of the library and of asyncio."""
    gc.collect()
    collect()
    modules = [str(type(each).__module__) for each in gc.get_objects()]
    return sum(not PYPY or module.startswith(("async_lru", "asyncio")) for module in modules)


def messages(logged: Logged) -> List[Tuple[str, str]]:
    """Take out what a loop has logged: the words before a colon, and the exception."""
    collect()
    taken = [(str(c["message"]).split(":")[0], repr(c.get("exception"))) for c in logged]
    logged.clear()
    return taken


# Refreshes

TTL = 100.0
REFRESH = 60.0
BOTH = {"ttl": TTL, "refresh": REFRESH}
# How the messages of failures begin that no caller receives.
NEVER = "Task exception was never retrieved"
STAYS = "A refresh failed, and the old result stays until its ttl"


async def due(source: Source, clock: "ClockLoop", function: Any, *args: Any) -> None:
    """Have an old result that is due, and no refresh running."""
    await settled(source, function(*args), "old")
    clock.now += REFRESH


async def refreshing(source: Source, clock: "ClockLoop", function: Any, *args: Any) -> None:
    """Have an old result that is due, and a refresh running."""
    await due(source, clock, function, *args)
    assert at_once(function(*args)) == "old"
    await turns()
    assert len(source.works) == 2
    assert not source.works[1].done()


# Time


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes when the test says."""

    now = 1000.0
    # The time that work takes: about a millisecond passes with each look.
    worked = 0.0

    def time(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        self.worked += 1 / 1024  # sums of it are exact
        return self.worked


def draws() -> Iterator[float]:
    """What random.uniform(0, 1) returns in turn, on a ClockLoop."""
    return itertools.cycle([0.5, 0.75, 0.0, 0.25])


@contextlib.contextmanager
def clock_loop() -> Iterator[ClockLoop]:
    """A ClockLoop by whose clocks the library goes as well."""
    loop = ClockLoop()
    drawn = draws()
    clocks = {"monotonic": loop.time, "perf_counter": loop.perf_counter}
    with contextlib.ExitStack() as stack:
        for module_name, module in list(sys.modules.items()):
            for name, clock in clocks.items():
                if module_name.startswith("async_lru.") and hasattr(module, name):
                    stack.enter_context(mock.patch.object(module, name, clock))
        stack.enter_context(
            mock.patch("random.uniform", lambda low, high: low + next(drawn) * (high - low))
        )
        try:
            yield loop
        finally:
            loop.close()


def on_clock(test: _Test) -> _Test:
    """Run a test that is a coroutine function on the loop of the ``clock`` fixture."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        fixtures["clock"].run_until_complete(test(**fixtures))

    return cast("_Test", run)


# Threads


class Worker:
    """An event loop that runs in its own thread, and takes one job at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def start(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Any) -> Any:
        return self.start(coroutine).result(LIMIT)

    def call(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return function()

        return self.run(call())

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """Keep the loop from taking any step meanwhile."""
        entered, left = threading.Event(), threading.Event()

        async def block() -> None:
            entered.set()
            assert left.wait(LIMIT)

        job = self.start(block())
        assert entered.wait(LIMIT)
        try:
            yield
        finally:
            left.set()
            job.result(LIMIT)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in another thread, and wait for it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result(LIMIT)


def run_alone(main: Any) -> Any:
    """Run as asyncio.run() does, which fails while other threads make many tasks."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def in_threads(*mains: Any, then: Callable[[], None] = lambda: None) -> None:
    """Run each in a thread, coroutines in their own loop; raise what any of them raises.

    ``then`` is called when the last of them, or any that fails, has ended: to stop the others.
    """
    errors: List[BaseException] = []
    loops = [asyncio.new_event_loop() for _ in mains]
    ready = threading.Barrier(len(mains))

    def run(main: Any, loop: asyncio.AbstractEventLoop) -> None:
        ready.wait(LIMIT)
        try:
            if callable(main):
                main()
            else:
                loop.run_until_complete(main)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            then()
        if main is mains[-1]:
            then()

    threads = [threading.Thread(target=run, args=each) for each in zip(mains, loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert not any(thread.is_alive() for thread in threads)
    for loop in loops:  # not before: a thread that begins late may find that loop closed
        loop.close()
    for error in errors:
        raise error


# Processes

# In development mode asyncio logs each step that takes long, as any may on a busy machine.
NOTHING_IS_SLOW = """
import logging
logging.getLogger("asyncio").addFilter(lambda it: not it.getMessage().startswith("Executing"))
"""


def run_program(*parts: str, dev: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a program in its own process; in development mode with every warning shown."""
    options = ["-X", "dev", "-W", "always"] if dev else []
    program = "".join(map(textwrap.dedent, (NOTHING_IS_SLOW, *parts)))
    return run_python(*options, "-c", program)


def run_python(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
