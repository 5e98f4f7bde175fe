"""One event loop's cache: its entries by recency, their expiry, the works in flight."""

import asyncio
import math
import random
from collections import OrderedDict
from contextvars import Context
from threading import RLock, get_ident
from time import monotonic
from typing import Any, Awaitable, Callable, Hashable, List, NamedTuple, Optional, Set, cast

from ._entry import PENDING, Entry


class Limits(NamedTuple):
    """How many entries are kept, and for how many seconds."""

    maxsize: Optional[int]
    ttl: Optional[float]
    jitter: float


class Cache:
    """What a decorated function keeps for one event loop.

    It is written by the thread of that loop only, so that a lookup needs no lock. Another
    thread that drops a key leaves word in ``dropped``, under the lock, and keeps the cache
    from serving until its own thread has caught up; one that clears puts a successor in its
    place.
    """

    __slots__ = (
        "closed",
        "context",
        "dropped",
        "entries",
        "hits",
        "limits",
        "lock",
        "lookup",
        "loop",
        "maxsize",
        "misses",
        "serves",
        "thread",
        "touch",
        "ttl",
        "works",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        lock: RLock,
        works: Set[Entry],
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.maxsize = math.inf if limits.maxsize is None else limits.maxsize
        self.ttl = limits.ttl
        self.lock = lock
        # The loop, while it may look up here without further question.
        self.serves: Optional[asyncio.AbstractEventLoop] = None
        self.thread = get_ident()
        # By key, the least recently used first: an entry, or the bare value of one that is
        # settled and will not expire.
        self.entries: "OrderedDict[Hashable, Any]" = OrderedDict()
        # The two ways in of a hit, with their attribute lookups done.
        self.lookup = self.entries.get
        self.touch = self.entries.move_to_end
        self.hits = 0
        self.misses = 0
        # The pending entries, those no longer in the cache included.
        self.works = works
        self.dropped: Set[Hashable] = set()
        self.closed = False
        # Timers run in an empty context, so as not to keep a caller's alive.
        self.context = Context()

    # In the loop's own thread.

    def start(self, key: Hashable, awaitable: Awaitable[Any]) -> Entry:
        """Start the work of a miss, as a task of its own."""
        entry = Entry(self, key)
        work = entry.work(awaitable)
        work.send(None)
        self.misses += 1
        self.works.add(entry)
        try:
            if self.maxsize:
                self.entries[key] = entry
                if len(self.entries) > self.maxsize:
                    _, evicted = self.entries.popitem(last=False)
                    if type(evicted) is Entry:
                        stop_timer(evicted)
            task: Any = self.loop.create_task(work)
        except BaseException:
            self.misses -= 1
            work.close()
            raise
        # It is destroyed in flight only if its loop is closed too early. asyncio complains of
        # that for the caller's task, which is the user's; this one is not.
        task._log_destroy_pending = False
        if entry.value is PENDING:  # a task started eagerly may be done
            entry.task = task
        return entry

    def end(self, entry: Entry) -> None:
        """See to an entry whose work is over; it stays only with a value, under its key."""
        self.works.discard(entry)
        try:
            if self.lookup(entry.key) is not entry:
                pass  # gone, or another's place by now
            elif entry.value is PENDING:
                del self.entries[entry.key]
            elif self.ttl is None:
                self.entries[entry.key] = entry.value
            else:
                self.expire_after(entry, self.ttl)
        finally:
            waiters, entry.waiters = entry.waiters, None
            for waiter in waiters or ():
                try:  # noqa: SIM105  # suppress() would cost as much as all the rest
                    waiter.set_result(None)
                except asyncio.InvalidStateError:  # noqa: PERF203
                    pass  # its caller has been cancelled

    def expire_after(self, entry: Entry, seconds: float) -> None:
        if self.limits.jitter:
            seconds += random.uniform(0, self.limits.jitter)  # noqa: S311  # no secret
        entry.deadline = monotonic() + seconds
        if not self.closed:
            entry.timer = self.loop.call_later(
                seconds, self.forget, entry, context=self.context
            )

    def forget(self, entry: Entry) -> None:
        """Remove this entry, but none that has taken its place."""
        if self.entries.get(entry.key) is entry:
            self.remove(entry.key)

    def remove(self, key: Hashable) -> Any:
        removed = self.entries.pop(key, None)
        stop_timer(removed)
        return removed

    def serve(self) -> List[Any]:
        """Let the loop look up here without further question; as ``catch_up``."""
        removed = self.catch_up()
        self.thread = get_ident()
        self.serves = self.loop
        return removed

    def catch_up(self) -> List[Any]:
        """Remove what has been dropped. It is returned, to be let go without the lock."""
        with self.lock:
            removed = [self.remove(key) for key in self.dropped]
            self.dropped.clear()
        return removed

    def retire(self) -> None:
        """Remove everything, now that a successor is in place."""
        for entry in self.entries.values():
            stop_timer(entry)
        self.entries.clear()

    def close(self, cancel: bool) -> None:
        """Stop the timers and, if so told, the works; the entries stay."""
        for entry in self.entries.values():
            stop_timer(entry)
        if cancel and not self.loop.is_closed():
            for task in self.tasks():
                task.cancel()

    def tasks(self) -> "Set[asyncio.Task[None]]":
        """The works in flight, less the one that asks: it cannot wait for itself."""
        tasks = {entry.task for entry in self.works if entry.task is not None}
        return tasks - {asyncio.current_task()}

    # In any thread, under the lock.

    def __len__(self) -> int:
        return len(self.entries) - sum(key in self.entries for key in self.dropped)

    def __contains__(self, key: Hashable) -> bool:
        found = self.entries.get(key, ABSENT)
        if key in self.dropped:
            return False
        if type(found) is not Entry or found.waiters is not None:
            return True  # the value may be there already, and on its way into the cache
        return monotonic() < found.deadline

    def drop(self, key: Hashable) -> bool:
        """Serve this key no more; True if there was an entry. To be caught up with."""
        if key not in self:
            return False
        self.dropped.add(key)
        self.serves = None
        return True

    def successor(self) -> "Cache":
        """An empty cache for the same loop, with the same works in flight."""
        self.serves = None
        cache = Cache(self.loop, self.limits, self.lock, self.works)
        cache.closed = self.closed
        return cache

    # In any thread.

    def in_its_thread(self, step: Callable[[], object]) -> None:
        """Take a step that writes: at once if it may be, else when the loop gets to it."""
        running = asyncio._get_running_loop()
        idle = self.thread == get_ident() and not self.loop.is_running()
        if self.loop is running or idle:
            step()
            return
        try:
            self.loop.call_soon_threadsafe(step, context=self.context)
        except RuntimeError:  # it is closed: no thread writes here any more
            step()


def stop_timer(entry: Any) -> None:
    if type(entry) is Entry and entry.timer is not None:
        entry.timer.cancel()


# What a lookup finds where there is nothing: neither pending, nor ever to be served.
ABSENT = Entry(cast("Cache", None), None)
ABSENT.value = None
ABSENT.waiters = None

# The cache of no loop, which serves none.
NOWHERE = Cache(cast("asyncio.AbstractEventLoop", None), Limits(0, None, 0), RLock(), set())
