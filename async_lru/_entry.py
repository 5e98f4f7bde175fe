"""One call's way through the cache: in flight, settled, and perhaps to expire."""

import asyncio
import math
import types
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Awaitable, Dict, Generator, Hashable, Optional

if TYPE_CHECKING:
    from ._cache import Cache

# A deadline that is always past.
NEVER = -math.inf


@types.coroutine
def _first_step() -> Generator[None, None, None]:
    """Wait for the first step of the task that takes a begun coroutine over."""
    yield


@types.coroutine
def _rest(begun: "Coroutine[Any, Any, Any]") -> Generator[Any, Any, Any]:
    return (yield from begun)  # pyright: ignore[reportUnknownVariableType]


async def resume(begun: "Coroutine[Any, Any, Any]") -> Any:
    """Await a coroutine that has begun, which ``await`` by itself refuses."""
    return await _rest(begun)


class Entry:
    """What is kept under a key while something is still to happen to it.

    An entry starts *pending*, with its work in flight: the task that runs the coroutine. It
    is *settled* once the work has given a value. One that is to expire then stays in the
    cache; any other is replaced there by the bare value.

    Each waiter has a future of its own, so that a cancelled caller takes nothing else along,
    and the last one to go can tell that it is.
    """

    __slots__ = ("cache", "deadline", "expires", "key", "task", "value", "waiters")

    def __init__(self, cache: "Cache", key: Hashable) -> None:
        self.cache = cache
        self.key = key
        # The work, while it is in flight.
        self.task: Optional["asyncio.Task[Any]"] = None
        # None once there is nothing to wait for.
        self.waiters: Optional[Dict["asyncio.Future[None]", None]] = {}
        self.value: Any = None
        # By time.monotonic(): the value is served before this moment only.
        self.deadline = NEVER
        # By the loop's clock: when it is to be removed.
        self.expires = 0.0

    def __lt__(self, other: "Entry") -> bool:
        return self.expires < other.expires

    async def run(self, awaitable: Awaitable[Any]) -> Any:
        """Run the call. To be begun before a task takes it over.

        A coroutine that is cancelled before its first step never runs; this one has begun,
        and so comes to its end whatever happens. The outcome stays with the task: the callers
        take it from there, and asyncio logs a failure if none is left to do so.
        """
        try:
            await _first_step()
            if self.task is None:  # started eagerly: create_task() has yet to return
                self.task = asyncio.current_task()
            value = await awaitable
            self.cache.settle(self, value)
            return value  # noqa: TRY300
        except BaseException as failure:
            if isinstance(awaitable, Coroutine):
                awaitable.close()  # if cancelled before the first step, it never began
            if self.cache.loop.is_closed():
                self.waiters = {}  # the task is destroyed in flight: nobody can wake
            if isinstance(failure, (KeyboardInterrupt, SystemExit)):
                # It leaves the loop by itself, and is not news if no caller takes it as well.
                assert self.task is not None
                self.task.add_done_callback(lambda task: task.exception())
            self.cache.forget(self)
            raise
        finally:
            self.task = None
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
