"""What test modules share: functions, loops and threads under control."""

import asyncio
import contextlib
import functools
import gc
import itertools
import subprocess
import sys
import sysconfig
import textwrap
import threading
from typing import Any, Callable, Dict, Iterator, List, Tuple, TypeVar, cast
from unittest import mock

PYPY = sys.implementation.name == "pypy"
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

Decorate = Callable[..., Any]
_Test = TypeVar("_Test", bound=Callable[..., Any])


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


async def identity(x: Any) -> Any:
    return x


async def this_loop(x: int = 0) -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class Thing:
    """Something that can be weakly referenced."""


async def turns(count: int = 5) -> None:
    """Let everything that is ready run, and what that makes ready, and so on."""
    for _ in range(count):
        await asyncio.sleep(0)


def timers(loop: Any) -> List[asyncio.TimerHandle]:
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def collect() -> None:
    """What reference counts have released by now; elsewhere the collector is to do that.

    They have not where there are none, nor always where several threads have held something.
    """
    if PYPY or FREE_THREADED:
        for _ in range(4):  # finalizers run in between, and let go of more
            gc.collect()


class ClockLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes when the test says."""

    now = 1000.0

    def time(self) -> float:
        return self.now


def draws() -> Iterator[float]:
    """What random.uniform(0, 1) gives in turn, on such a loop."""
    return itertools.cycle([0.5, 0.75, 0.0, 0.25])


@contextlib.contextmanager
def clock_loop() -> Iterator[ClockLoop]:
    """Such a loop, by whose clock the library goes as well."""
    loop = ClockLoop()
    drawn = draws()
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("async_lru.") and hasattr(module, "monotonic"):
                stack.enter_context(mock.patch.object(module, "monotonic", loop.time))
        stack.enter_context(
            mock.patch("random.uniform", lambda low, high: low + next(drawn) * (high - low))
        )
        try:
            yield loop
        finally:
            loop.close()


def on_clock(test: _Test) -> _Test:
    """Run a test that is a coroutine function on the loop that the ``clock`` fixture gives."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        fixtures["clock"].run_until_complete(test(**fixtures))

    return cast("_Test", run)


def messages(logged: List[Dict[str, Any]]) -> List[Tuple[str, str]]:
    """What a loop has logged, taken out: the words before a colon, and the exception."""
    collect()
    taken = [(str(c["message"]).split(":")[0], repr(c.get("exception"))) for c in logged]
    logged.clear()
    return taken


class Worker:
    """An event loop that runs in a thread of its own, taking one job at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def start(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Any) -> Any:
        return self.start(coroutine).result(5)

    def call(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return function()

        return self.run(call())

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


# In development mode asyncio logs each step that takes long, as any may on a busy machine.
NOTHING_IS_SLOW = """
import logging
logging.getLogger("asyncio").addFilter(lambda it: not it.getMessage().startswith("Executing"))
"""


def run_program(*parts: str, dev: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a program of its own; in development mode with every warning shown."""
    options = ["-X", "dev", "-W", "always"] if dev else []
    program = "".join(map(textwrap.dedent, (NOTHING_IS_SLOW, *parts)))
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
