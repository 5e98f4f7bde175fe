"""An event loop seen from outside: held weakly, and reached from any thread."""

import asyncio
from contextvars import Context
from threading import get_ident
from typing import TYPE_CHECKING, Any, Callable
from weakref import ref

if TYPE_CHECKING:
    _LoopRef = ref[asyncio.AbstractEventLoop]
else:
    _LoopRef = ref  # not subscriptable in 3.8


class LoopRef(_LoopRef):
    """A weak reference to an event loop that knows which thread ran the loop last."""

    __slots__ = ("thread",)

    thread: int

    def is_running(self) -> bool:
        loop = self()
        return loop is not None and loop.is_running()

    def run(self, step: Callable[..., object], *args: Any) -> None:
        """Take a step in the loop's thread, with its next turn.

        At once if no thread runs the loop, and none but this one may begin to: the loop is
        closed, or this thread ran it last.
        """
        loop = self()
        if loop is None or (self.thread == get_ident() and not loop.is_running()):
            step(*args)
        elif loop is asyncio._get_running_loop():
            loop.call_soon(step, *args, context=Context())
        else:
            try:
                loop.call_soon_threadsafe(step, *args, context=Context())
            except RuntimeError:  # it is closed
                step(*args)
