"""The entries of a cache that are to expire: a queue by time, and the timer of its front."""

import asyncio
from contextvars import Context
from heapq import heappop, heappush
from operator import attrgetter
from typing import Callable, List, Optional

from ._entry import NEVER, Entry


class Expiry:
    """Removes entries from a cache when their time has come.

    There is one timer, for the front of the queue: one for each entry would cost half as much
    as all the rest of a miss. An entry that leaves the cache before its time is emptied where
    it stands in the queue, and goes when it gets to the front or more than half are like it.
    """

    __slots__ = ("context", "discarded", "due", "loop", "queue", "remove", "timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, remove: Callable[[Entry], None]
    ) -> None:
        self.loop = loop
        self.remove = remove
        # A heap. To shorten it, it is replaced: a finalizer may get here amid a push or a pop.
        self.queue: List[Entry] = []
        # How many have been discarded since it was last replaced.
        self.discarded = 0
        self.timer: Optional[asyncio.TimerHandle] = None
        # What the timer is set to, by the loop's clock.
        self.due = 0.0
        # The timer's, and empty, so as not to keep a caller's alive.
        self.context = Context()

    def add(self, entry: Entry, seconds: float) -> None:
        """Have an entry removed in so many seconds."""
        entry.expires = self.loop.time() + seconds
        heappush(self.queue, entry)
        if self.queue[0] is entry:
            self.set_timer()

    def discard(self, entry: Entry) -> None:
        """Let go of an entry that has been removed."""
        entry.deadline = NEVER
        self.discarded += 1
        if self.discarded > len(self.queue) // 2:
            rest = [entry for entry in self.queue if entry.deadline != NEVER]
            self.restart(sorted(rest, key=attrgetter("expires")))  # which is a heap as well
        entry.key = entry.value = None

    def stop(self) -> None:
        self.restart([])

    def restart(self, queue: List[Entry]) -> None:
        self.queue = queue
        self.discarded = 0
        self.set_timer()

    def set_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.queue and not self.loop.is_closed():
            self.due = self.queue[0].expires
            self.timer = self.loop.call_at(self.due, self.expire, context=self.context)

    def expire(self) -> None:
        """Remove what is due, and wait for what is next."""
        now = max(self.due, self.loop.time())  # a timer may be early by the clock's resolution
        try:
            while self.queue and self.queue[0].expires <= now:
                self.remove(heappop(self.queue))
        finally:
            self.set_timer()
