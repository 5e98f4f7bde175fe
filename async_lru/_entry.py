"""One call's way through the cache: in flight, settled, and perhaps to expire."""

import asyncio
import math
import types
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Awaitable, Dict, Generator, Hashable, Optional

if TYPE_CHECKING:
    from ._cache import Cache

# The value of an entry whose work has given none, so far or at all.
PENDING: Any = object()


@types.coroutine
def _first_step() -> Generator[None, None, None]:
    """Wait for the first step of the task that takes a begun coroutine over."""
    yield


class Entry:
    """What is kept under a key while something is still to happen to it.

    An entry starts *pending*, with its work in flight: the task that runs the coroutine. It
    is *settled* once the work has given a value. One that is to expire stays in the cache
    with its timer; any other is replaced there by the bare value.

    Each waiter has a future of its own, so that a cancelled caller takes nothing else along,
    and the last one to go can tell that it is.
    """

    __slots__ = ("cache", "deadline", "key", "task", "timer", "value", "waiters")

    def __init__(self, cache: "Cache", key: Hashable) -> None:
        self.cache = cache
        self.key = key
        self.value = PENDING
        # Of the work: while it is in flight, and afterwards if it gave no value.
        self.task: Optional["asyncio.Task[None]"] = None
        # None once there is nothing to wait for.
        self.waiters: Optional[Dict["asyncio.Future[None]", None]] = {}
        # By time.monotonic(): the value is served before this moment only.
        self.deadline = -math.inf
        self.timer: Optional[asyncio.TimerHandle] = None

    async def work(self, awaitable: Awaitable[Any]) -> None:
        """Run the call. To be begun before a task takes it over.

        A coroutine that is cancelled before its first step never runs; this one has begun,
        and so comes to its end whatever happens. A failure stays with the task: the callers
        take it from there, and asyncio logs it if none is left to do so.
        """
        try:
            await _first_step()
            if self.task is None:  # started eagerly: create_task() has yet to return
                self.task = asyncio.current_task()
            self.value = await awaitable
            self.task = None
        except BaseException as failure:
            if isinstance(awaitable, Coroutine):
                awaitable.close()  # if cancelled before the first step, it never began
            if isinstance(failure, GeneratorExit):
                self.waiters = {}  # the task is destroyed, its loop closed: nobody can wake
            elif isinstance(failure, (KeyboardInterrupt, SystemExit)):
                # It leaves the loop by itself, and is not news if no caller takes it as well.
                assert self.task is not None
                self.task.add_done_callback(lambda task: task.exception())
            raise
        finally:
            self.cache.end(self)
            del self  # an exception keeps this frame, and the task keeps the exception

    def leave(self, waiter: "asyncio.Future[None]") -> None:
        """Let a cancelled caller go; the last to go takes the work along."""
        if self.waiters is None:
            return
        del self.waiters[waiter]
        if not self.waiters and not self.cache.loop.is_closed():
            self.cache.forget(self)
            assert self.task is not None
            self.task.cancel()
