"""The results of one event loop by key, with their order of use and their expiry.

Only the loop's own thread changes ``entries`` and ``queue``. Another thread, a signal handler
or a finalizer must not: it would remove an entry between the look-up of a hit and its
``touch``. It leaves a record in ``invalidated``. The loop's thread applies the records before
it looks anything up again.
"""

import asyncio
import contextlib
import math
import sys
from collections import OrderedDict
from contextvars import Context
from functools import partial
from heapq import heapify, heappop, heappush
from time import monotonic, perf_counter
from typing import Any, Callable, Dict, Hashable, List, Optional
from weakref import ref

# A moment in the past.
EXPIRED = -math.inf
# A slice of expiry takes at most _SLICE seconds, but always removes _AT_LEAST entries.
_SLICE, _AT_LEAST = 0.003, 64


class Entry:
    """A call in flight, or a result that expires, as the cache holds it.

    An entry is *in flight* while its first call runs. Then it is *fresh* before
    ``fresh_until``, *due* for a refresh until ``expires_at``, and *expired* from then on. A
    result that never expires is held bare, without an entry.
    """

    __slots__ = ("call", "expires_at", "fresh_until", "key", "timer_at", "value")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.value: Any = None
        # By time.monotonic().
        self.fresh_until = EXPIRED
        self.expires_at = EXPIRED
        # When the timer removes it, by the loop's clock. EXPIRED if it is not in the queue. It
        # must not change while the entry is in the queue, which is ordered by it.
        self.timer_at = EXPIRED
        # The call in flight: the first one, or a refresh.
        self.call: Any = None

    def __lt__(self, other: "Entry") -> bool:
        return self.timer_at < other.timer_at

    def __repr__(self) -> str:
        state = "expired" if self.call is None else "in flight"
        if monotonic() < self.expires_at:
            state = "fresh" if monotonic() < self.fresh_until else "due"
        return f"<Entry {self.key!r}, {state}>"


# The result of a look-up that finds nothing: an expired entry without a call.
MISSING = Entry(None)


def nothing(*_: object) -> None:
    """Return None, as a dead weak reference does, or as a step that does nothing."""


class Cache:
    """The mapping of one event loop, with its timer."""

    def __init__(
        self, loop: Callable[[], "Optional[asyncio.AbstractEventLoop]"], maxsize: Optional[int]
    ) -> None:
        # A weak reference, because a cache keeps no loop alive.
        self.loop = loop
        self.maxsize = math.inf if maxsize is None else maxsize
        self.bounded = maxsize is not None
        # By key, the least recently used first: an entry, or a bare result.
        self.entries: "OrderedDict[Hashable, Any]" = OrderedDict()
        # Bound once, because each hit calls them.
        self.lookup = self.entries.get
        self.touch = self.entries.move_to_end
        self.hits = 0
        self.misses = 0
        # The records: the keys whose entries are to be removed, and those being removed now.
        self.invalidated: Dict[Hashable, object] = {}
        self.applying: Dict[Hashable, object] = {}
        # True after the loop has been told of records, until it applies them.
        self.woken = False
        # A heap of the entries that expire. An entry that is removed early stays in it until
        # it is the first, or until half of the queue are such entries.
        self.queue: List[Entry] = []
        # How many such entries there are. Their fresh_until is EXPIRED.
        self.discarded = 0
        # A weak reference to the Watch of the timer, which is set for the first entry.
        self.watch: Callable[[], Optional[Watch]] = nothing
        # After closing, no timer is set any more.
        self.closed = False

    # From anywhere.

    def __contains__(self, key: Hashable) -> bool:
        recorded = key in self.invalidated or key in self.applying
        return not recorded and self.holds(key)

    def holds(self, key: Hashable) -> bool:
        """Whether there is an entry that has not expired, recorded or not."""
        while True:
            found = self.lookup(key, MISSING)
            if type(found) is not Entry or found.call or monotonic() < found.expires_at:
                return True
            # A call may have returned in the middle of these checks: then look again.
            if self.lookup(key, MISSING) is found:
                return False

    def __len__(self) -> int:
        # Of the records being applied, those whose entries have yet to be removed.
        half_applied = sum(key in self.entries for key in list(self.applying))
        # A recorded key had an entry, which may have been evicted since.
        return max(len(self.entries) - len(self.invalidated) - half_applied, 0)

    def invalidate(self, key: Hashable) -> bool:
        """Record that the key's entry is to be removed; True if there is one."""
        visible, mark = key in self, object()
        if not self.holds(key):
            return False
        while True:
            records = self.invalidated
            first = records.setdefault(key, mark) is mark
            # If apply() has taken the records in between, it may not have seen this one: then
            # record it again, also if it is one that another thread has recorded.
            if records is self.invalidated:
                break
        loop = self.loop()
        if loop is not None and not self.woken:
            self.woken = True
            run_in(loop, partial(_wake, ref(self)))
        return visible and first

    # In the loop's thread.

    def apply(self) -> None:
        """Remove the entries whose keys are recorded."""
        while self.invalidated:
            # A new dict each time, because one that was large once stays slow to list.
            records = self.applying = self.invalidated
            self.invalidated = {}
            # Keep a reference to the results until all are removed, because the finalizer of
            # one may call the function.
            found = [self.entries.pop(key, None) for key in list(records)]
            # The records are deleted last, so that nobody sees the entries again.
            records.clear()
            for each in found:
                self.after_removal(each)

    def hit(self, key: Hashable) -> None:
        if self.bounded:
            self.touch(key)
        self.hits += 1

    def insert(self, entry: Entry) -> None:
        """Put a call in flight under its key."""
        if len(self.entries) < self.maxsize:
            self.entries[entry.key] = entry
        elif self.maxsize:
            # Keep a reference to the old result until the new entry is in place, because the
            # finalizer of the result may call the function.
            _key, evicted = self.entries.popitem(last=False)
            self.entries[entry.key] = entry
            self.after_removal(evicted)

    def store(self, entry: Entry, value: Any, fresh_until: float, expires_at: float) -> None:
        """Put a result in place of its entry, which is in the cache."""
        if fresh_until == math.inf:
            self.entries[entry.key] = value
            self.after_removal(entry)
            return
        # A refresh gets a new entry, because an entry in the queue must not change its place.
        # It is filled before it is put in place, because an invalidation that comes in between
        # must find a result to invalidate.
        settled = entry if entry.expires_at == EXPIRED else Entry(entry.key)
        settled.value, settled.fresh_until, settled.expires_at = value, fresh_until, expires_at
        self.entries[entry.key] = settled
        if expires_at < math.inf:
            loop: Any = self.loop()
            settled.timer_at = loop.time() + expires_at - monotonic()
            heappush(self.queue, settled)
            if self.queue[0] is settled:
                self.set_timer()
        if settled is not entry:
            # This comes last, because the finalizer of the old result may invalidate the new.
            self.after_removal(entry)

    def remove(self, entry: Entry) -> None:
        """Remove an entry that is in the cache."""
        self.entries.pop(entry.key, None)
        self.after_removal(entry)

    def after_removal(self, found: Any) -> None:
        """After an entry has been removed: release its result, and cancel its refresh."""
        if type(found) is not Entry:
            return
        found.key = found.value = None
        found.fresh_until = found.expires_at = EXPIRED
        if found.timer_at != EXPIRED:
            self.discarded += 1
            if self.discarded > len(self.queue) // 2:
                self.queue = [entry for entry in self.queue if entry.fresh_until != EXPIRED]
                heapify(self.queue)
                self.discarded = 0
                self.set_timer()
        if found.call is not None:
            found.call.cancel_refresh()

    def expire(self, timer_at: float) -> None:
        """Remove expired entries, for a few milliseconds.

        When the timer fires, its entry has expired, whatever time.monotonic() says: a loop may
        have another clock. An entry with a refresh in flight stays, without its result, so
        that callers join the refresh.
        """
        self.apply()
        loop: Any = self.loop()
        now = max(loop.time(), timer_at)
        stop, count = perf_counter() + _SLICE, 0
        while (entry := self.first_to_expire()) is not None and entry.timer_at <= now:
            time_is_up = count >= _AT_LEAST and perf_counter() > stop
            if time_is_up and entry.expires_at <= monotonic():
                break  # not served meanwhile, because it has expired by time.monotonic() too
            count += 1
            entry = heappop(self.queue)
            entry.timer_at = entry.fresh_until = entry.expires_at = EXPIRED
            if entry.call is None:
                self.remove(entry)
            else:
                entry.value = None
        self.set_timer()

    def first_to_expire(self) -> Optional[Entry]:
        """Drop entries at the head of the queue that were removed early; return the first."""
        while self.queue and self.queue[0].fresh_until == EXPIRED:
            heappop(self.queue)
            self.discarded -= 1
        return self.queue[0] if self.queue else None

    def set_timer(self) -> None:
        """Set the timer for the first entry. A timer for each would cost half a miss."""
        self.cancel_timer()
        entry = self.first_to_expire()
        if entry is not None and not self.closed:
            loop: Any = self.loop()
            delay = max(entry.timer_at - loop.time(), 0)
            watch = Watch(self, _cancel_in_its_loop)
            watch.loop = loop
            # In an empty context, because the timer must not keep that of a caller alive.
            watch.timer = loop.call_later(
                delay, _fire, watch, entry.timer_at, context=Context()
            )
            self.watch = ref(watch)

    def cancel_timer(self) -> None:
        watch = self.watch()
        if watch is not None:
            watch.cancel()

    def close(self) -> None:
        """Cancel the timer, and set no other. The queue may be changing: leave it alone."""
        self.closed = True
        self.cancel_timer()

    def __repr__(self) -> str:
        return f"<Cache of {len(self)}, {self.hits} hits, {self.misses} misses>"


class Watch(ref):  # type: ignore[type-arg]  # not subscriptable in 3.8
    """A timer's weak reference to its cache. Only the timer keeps it alive.

    If the cache is freed, in whichever thread, the timer is cancelled. (A finalizer would not
    do: the collector may have cleared the cache's own reference to the timer by then.)
    """

    __slots__ = ("__weakref__", "loop", "timer")

    loop: asyncio.AbstractEventLoop
    timer: Optional[asyncio.TimerHandle]

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


# A function, because the repr of its handle shows where it is.
def _fire(watch: Any, timer_at: float) -> None:
    watch.timer = None  # break the reference cycle: watch, timer, watch
    cache = watch()
    if cache is not None:
        cache.expire(timer_at)


def _wake(reference: "ref[Cache]") -> None:
    cache = reference()
    if cache is not None:
        cache.woken = False
        cache.apply()


def run_in(loop: asyncio.AbstractEventLoop, step: Callable[[], object]) -> None:
    """Take a step in a loop's own thread, in its next turn. A closed loop takes none."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(step, context=Context())


def _cancel_in_its_loop(
    watch: Any,
    # Bound as defaults, because at exit the module's names are gone before the last object.
    is_finalizing: Callable[[], bool] = sys.is_finalizing,
    run_in: Callable[..., None] = run_in,
    nothing: Callable[..., None] = nothing,
) -> None:
    run = nothing if is_finalizing() else run_in
    run(watch.loop, watch.cancel)


# Stands in for a cache that is out of service. It stays empty.
EMPTY = Cache(nothing, None)
