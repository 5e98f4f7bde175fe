"""One event loop's cache: its entries by recency, their expiry, the works in flight."""

import asyncio
import math
import random
from collections import OrderedDict
from contextvars import Context
from threading import RLock, get_ident
from time import monotonic
from typing import (
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Hashable,
    List,
    NamedTuple,
    Optional,
    Set,
    cast,
)

from ._entry import Entry, resume
from ._expiry import Expiry


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
        "dropped",
        "entries",
        "expiry",
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
        self.expiry = Expiry(loop, self.forget)

    # In the loop's own thread.

    def start(self, key: Hashable, awaitable: Awaitable[Any]) -> Entry:
        """Start the work of a miss, as a task of its own."""
        entry = Entry(self, key)
        run = entry.run(awaitable)
        run.send(None)
        self.misses += 1
        self.works.add(entry)
        try:
            if self.maxsize:
                self.entries[key] = entry
                if len(self.entries) > self.maxsize:
                    _, evicted = self.entries.popitem(last=False)
                    if self.ttl is not None:
                        self.release(evicted)
            if self.loop.get_task_factory() is None:
                task: Any = self.loop.create_task(run)
            else:
                task = self.create_task(run)
        except BaseException:
            self.misses -= 1
            run.close()
            raise
        # It is destroyed in flight only if its loop is closed too early. asyncio complains of
        # that for the caller's task, which is the user's; this one is not.
        task._log_destroy_pending = False
        entry.task = task
        return entry

    def create_task(self, begun: "Coroutine[Any, Any, Any]") -> "asyncio.Task[Any]":
        """By a task factory, which may wrap the coroutine, and never get to resume it."""
        rest = resume(begun)
        try:
            task = self.loop.create_task(rest)
        except BaseException:
            rest.close()
            raise
        task.add_done_callback(lambda _: (rest.close(), begun.close()))
        return task

    def settle(self, entry: Entry, value: Any) -> None:
        """Keep the value that the work has given, if its entry is still here."""
        if self.lookup(entry.key) is not entry:
            return
        if self.ttl is None:
            self.entries[entry.key] = value
            return
        entry.value = value
        seconds = self.ttl
        if self.limits.jitter:
            seconds += random.uniform(0, self.limits.jitter)  # noqa: S311  # no secret
        entry.deadline = monotonic() + seconds
        if not self.closed:
            self.expiry.add(entry, seconds)

    def end(self, entry: Entry) -> None:
        """Wake the waiters of a work that is over."""
        self.works.discard(entry)
        waiters, entry.waiters = entry.waiters, None
        for waiter in waiters or ():
            try:  # noqa: SIM105  # suppress() would cost as much as all the rest
                waiter.set_result(None)
            except asyncio.InvalidStateError:  # noqa: PERF203
                pass  # its caller has been cancelled

    def forget(self, entry: Entry) -> None:
        """Remove this entry, but none that has taken its place."""
        if self.lookup(entry.key) is entry:
            del self.entries[entry.key]
            self.release(entry)

    def release(self, removed: Any) -> None:
        """Let go of what has been removed, which may still be queued to expire."""
        if type(removed) is Entry:
            self.expiry.discard(removed)

    def serve(self) -> List[Any]:
        """Let the loop look up here without further question; as ``take_dropped``."""
        removed = self.take_dropped()
        self.thread = get_ident()
        self.serves = self.loop
        return removed

    def take_dropped(self) -> List[Any]:
        """Remove what has been dropped. It is returned, to be released without the lock."""
        with self.lock:
            removed = [self.entries.pop(key, None) for key in list(self.dropped)]
            self.dropped.clear()
        return removed

    def catch_up(self) -> None:
        """Remove what other threads have dropped."""
        for removed in self.take_dropped():
            self.release(removed)

    def retire(self) -> None:
        """Remove everything, now that a successor is in place."""
        self.expiry.stop()
        self.entries.clear()

    def close(self, cancel: bool) -> None:
        """Stop the expiry and, if so told, the works; the entries stay."""
        self.expiry.stop()
        if cancel and not self.loop.is_closed():
            for task in self.tasks():
                task.cancel()

    def tasks(self) -> "Set[asyncio.Task[Any]]":
        """The works in flight, less the one that asks: it cannot wait for itself."""
        tasks = {entry.task for entry in self.works if entry.task is not None}
        return tasks - {asyncio.current_task()}

    # In any thread, under the lock.

    def __len__(self) -> int:
        return len(self.entries) - sum(key in self.entries for key in list(self.dropped))

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
            self.loop.call_soon_threadsafe(step, context=Context())
        except RuntimeError:  # it is closed: no thread writes here any more
            step()


# What a lookup finds where there is nothing: neither pending, nor ever to be served.
ABSENT = Entry(cast("Cache", None), None)
ABSENT.waiters = None

# The cache of no loop, which serves none.
NOWHERE = Cache(cast("asyncio.AbstractEventLoop", None), Limits(0, None, 0), RLock(), set())
