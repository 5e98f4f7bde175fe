"""The entries of a cache that are to expire: a queue by time, and the timer of its front."""

import sys
from contextvars import Context
from heapq import heappop, heappush
from operator import attrgetter
from time import get_clock_info, monotonic
from typing import TYPE_CHECKING, Any, Callable, List, Optional
from weakref import ref

from ._entry import EXPIRED, Entry
from ._loop import LoopRef

if TYPE_CHECKING:
    import asyncio

_RESOLUTION = get_clock_info("monotonic").resolution


def _no_watch() -> None:
    """Stand for the weak reference to the watch of a timer that is gone."""


if TYPE_CHECKING:
    _AnyRef = ref[Any]
else:
    _AnyRef = ref  # not subscriptable in 3.8


class Watch(_AnyRef):
    """What a timer knows of its cache: if that goes, by whatever means, the timer does.

    It is kept by the timer. A weak reference that goes together with what it refers to, as
    the collector may have it, tells nobody; nor is there anything left for a finalizer to see.
    """

    __slots__ = ("__weakref__", "loop", "timer")

    loop: LoopRef
    timer: "Optional[asyncio.TimerHandle]"


def _fire(watch: Watch) -> None:
    watch.timer = None
    cache = watch()
    if cache is not None:
        cache.expire()


def _cancel(watch: Any, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
    """From anywhere: an instance may go, and its caches with it, in any thread."""
    _ = watch.timer is None or is_finalizing() or watch.loop.run(watch.timer.cancel)


class Expiry:
    """A queue of entries, the next to expire first.

    There is one timer, for the front of the queue: one for each entry would cost half as much
    as all the rest of a miss. An entry that is removed before its time is emptied where it
    stands in the queue, and leaves it at the front or when more than half are like it.
    """

    __slots__ = ("cache", "discarded", "loop", "queue", "stopped", "watch")

    def __init__(self, loop: LoopRef, cache: Callable[[], Any]) -> None:
        self.loop = loop
        # Weakly, whose queue this is: its ``expire`` is called when the time has come.
        self.cache = cache
        self.queue: List[Entry] = []
        # How many have been discarded since the queue was last rebuilt.
        self.discarded = 0
        # The timer's watch, weakly: the timer keeps the loop alive. (In some loops the timer
        # itself cannot be weakly referenced.)
        self.watch: Callable[[], Optional[Watch]] = _no_watch
        self.stopped = False

    def add(self, entry: Entry) -> None:
        heappush(self.queue, entry)
        if self.queue[0] is entry:
            self.set_timer()

    def discard(self, entry: Entry) -> None:
        """Let go of an entry that has been removed before its time."""
        entry.deadline = EXPIRED
        self.discarded += 1
        if self.discarded > len(self.queue) // 2:
            rest = [entry for entry in self.queue if entry.deadline != EXPIRED]
            self.queue = sorted(rest, key=attrgetter("until"))  # which is a heap as well
            self.discarded = 0
            self.set_timer()

    def pop(self) -> Optional[Entry]:
        """The next entry whose time has come."""
        # A timer may be early by the resolution of its loop's clock.
        early = getattr(self.loop(), "_clock_resolution", _RESOLUTION)
        if self.queue and self.queue[0].until <= monotonic() + early:
            return heappop(self.queue)
        return None

    def timer(self) -> "Optional[asyncio.TimerHandle]":
        watch = self.watch()
        return None if watch is None else watch.timer

    def set_timer(self) -> None:
        timer = self.timer()
        if timer is not None:
            timer.cancel()
        while self.queue and self.queue[0].deadline == EXPIRED:
            heappop(self.queue)
            self.discarded -= 1
        loop = self.loop()
        if self.queue and loop is not None and not loop.is_closed():
            seconds = max(self.queue[0].until - monotonic(), 0)
            watch = Watch(self.cache(), _cancel)
            watch.loop = self.loop
            # In an empty context, so as not to keep a caller's alive.
            watch.timer = timer = loop.call_later(seconds, _fire, watch, context=Context())
            self.watch = ref(watch)
            if self.stopped:  # perhaps by someone who has seen the last timer only
                timer.cancel()

    def stop(self) -> None:
        """Set no timer any more, and cancel the one there is. From anywhere."""
        self.stopped = True
        timer = self.timer()
        if timer is not None:
            self.loop.run(timer.cancel)
