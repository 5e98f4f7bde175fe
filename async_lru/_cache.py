"""One event loop's mapping of keys to results: recency, invalidations, expiry."""

import math
from collections import OrderedDict
from time import monotonic, perf_counter
from typing import Any, Callable, Dict, Hashable, Optional
from weakref import ref

from ._entry import EXPIRED, MISSING, Entry, InFlight
from ._expiry import Expiry
from ._loop import LoopRef
from ._options import Lifetime

# For how many seconds at a time a loop is kept from its other work as entries expire.
SLICE = 0.003


class Cache:
    """Results by key, and what is recorded against them.

    A step that changes the mapping is taken in the loop's thread. Whoever else would change
    it leaves a record; who applies the records holds the token, for which nobody waits.
    """

    __slots__ = (
        "__weakref__",
        "abandoned",
        "bounded",
        "cleared",
        "entries",
        "expiry",
        "hits",
        "invalidated",
        "lookup",
        "maxsize",
        "misses",
        "owner",
        "reference",
        "token",
        "touch",
    )

    def __init__(
        self,
        owner: Callable[[], Any],
        loop: LoopRef,
        maxsize: Optional[int],
        abandoned: Dict[InFlight, None],
    ) -> None:
        # The state that it is part of, weakly.
        self.owner = owner
        self.maxsize = math.inf if maxsize is None else maxsize
        self.bounded = maxsize is not None
        # By key, the least recently used first: an entry, or the bare result.
        self.entries: "OrderedDict[Hashable, Any]" = OrderedDict()
        # What a hit calls, with the attribute look-ups done.
        self.lookup = self.entries.get
        self.touch = self.entries.move_to_end
        # Set once it is out of service for good.
        self.cleared = False
        self.hits = 0
        self.misses = 0
        # The records: keys that are to be removed, with a mark of who was the first to say so,
        self.invalidated: Dict[Hashable, object] = {}
        # and calls that nobody waits for. (Of the loop: it outlives a clear.)
        self.abandoned = abandoned
        self.token = [object()]
        self.reference = ref(self)
        self.expiry = Expiry(loop, self.reference)

    # From anywhere.

    def __len__(self) -> int:
        while True:
            size, recorded = len(self.entries), list(self.invalidated)
            left = size - sum(key in self.entries for key in recorded)
            # A record is deleted after its entry is removed: unchanged means consistent.
            if len(self.entries) == size and len(self.invalidated) == len(recorded):
                return left

    def __contains__(self, key: Hashable) -> bool:
        if key in self.invalidated:
            return False
        found = self.lookup(key, MISSING)
        if type(found) is not Entry or monotonic() < found.until:
            return True
        call = found.call
        return call is not None and bool(call.waiters)

    def invalidate(self, key: Hashable) -> bool:
        """Record that the key's entry is to be removed; True if there is one."""
        mark = object()
        return key in self and self.invalidated.setdefault(key, mark) is mark

    # With the token.

    def take_token(self) -> bool:
        try:
            self.token.pop()
        except IndexError:
            return False
        return True

    def return_token(self) -> None:
        self.token.append(object())

    def remove_invalidated(self) -> None:
        for key in list(self.invalidated):
            self.release(self.entries.pop(key, None))
            del self.invalidated[key]

    # In the loop's thread, or with the token where no thread runs the loop.

    def hit(self, key: Hashable) -> None:
        if self.bounded:
            self.touch(key)
        self.hits += 1

    def insert(self, entry: Entry) -> None:
        """Put a new entry under its key. What it evicts is let go when it stands."""
        try:
            if len(self.entries) < self.maxsize:
                self.entries[entry.key] = entry
                return
            _key, evicted = self.entries.popitem(last=False)
            self.entries[entry.key] = entry
        except BaseException:
            self.give_up()
            raise
        if type(evicted) is Entry:
            self.release(evicted)

    def put(self, key: Hashable, value: Any) -> None:
        """Put a result, or an entry that has it, in the place of an entry."""
        try:
            self.entries[key] = value
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Be cleared: a key has raised amid a step, and half of it may have been taken."""
        if not self.cleared:
            self.owner().clear()

    def store(self, entry: Entry, value: Any, lifetime: Optional[Lifetime]) -> None:
        """Put a result in the place of its entry, which is there. No lifetime: remove that."""
        if lifetime is None:
            self.remove(entry)
            return
        deadline, until = lifetime
        if deadline == math.inf:
            self.put(entry.key, value)
            return
        settled = entry
        if entry.until != EXPIRED:  # a refresh: an entry that is queued does not change
            settled = Entry(entry.key, value, deadline, until)
            self.put(entry.key, settled)
        else:
            entry.value, entry.deadline, entry.until = value, deadline, until
        if until < math.inf:
            self.expiry.add(settled)
        if settled is not entry:
            self.empty(entry)

    def remove(self, entry: Entry) -> None:
        """Remove this entry, but none that has taken its place."""
        try:
            if self.lookup(entry.key) is not entry:
                return
            del self.entries[entry.key]
        except BaseException:
            self.give_up()
            raise
        self.release(entry)

    def release(self, removed: Any) -> None:
        """Let go of what has been removed. It waits for its refresh no more."""
        if type(removed) is not Entry:
            return
        self.empty(removed)
        call = removed.call
        if call is not None and call.waiters.pop(None, call) is None and not call.waiters:
            self.abandoned[call] = None

    def empty(self, entry: Entry) -> None:
        """Let go of an entry's result, and of its place in the queue."""
        if EXPIRED < entry.until < math.inf:
            self.expiry.discard(entry)
        entry.key = entry.value = None
        entry.deadline = EXPIRED

    def expire(self) -> None:
        """Remove the entries whose time has come, for a few milliseconds at a time.

        The timer is set again for the rest. A refresh takes its entry's place.
        """
        if not self.take_token():
            self.expiry.set_timer()
            return
        try:
            stop = perf_counter() + SLICE
            for entry in iter(self.expiry.pop, None):
                entry.deadline = entry.until = EXPIRED
                if entry.call is None:
                    self.remove(entry)
                entry.value = None
                if perf_counter() > stop:
                    break
        finally:
            self.return_token()
            self.expiry.set_timer()
