"""A decorated function in one event loop: its cache, in service or out of it, and its calls.

A hit takes the cache from ``serving``, and asks nothing more. Whoever has to tell the cache
something leaves a record, then takes the cache out of service. The loop's next call or next
turn, whichever comes first, applies the records before it looks anything up.
"""

import asyncio
from functools import partial
from threading import get_ident
from typing import Any, Callable, Dict, Hashable, Optional
from weakref import ref

from ._cache import Cache
from ._entry import Entry, InFlight
from ._loop import LoopRef
from ._options import Options


class State:
    """What outlives a clear."""

    __slots__ = (
        "__weakref__",
        "abandoned",
        "apply_soon",
        "caches",
        "closed",
        "closings",
        "function",
        "loop",
        "name",
        "new_cache",
        "options",
        "running",
        "serving",
        "waking",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        loop: LoopRef,
        options: Options,
        caches: "Dict[ref[asyncio.AbstractEventLoop], Cache]",
        serving: Dict[asyncio.AbstractEventLoop, Cache],
    ) -> None:
        self.function = function
        self.name = name
        self.loop = loop
        self.options = options
        # The function's tables of caches, and of those in service. Only a loop's own thread
        # puts its cache into one; anybody may take it out.
        self.caches = caches
        self.serving = serving
        self.closed = False
        # The calls in flight, those whose entries are gone included.
        self.running: Dict[InFlight, None] = {}
        # The futures of those who wait for the calls in flight to end.
        self.closings: "Dict[asyncio.Future[None], None]" = {}
        # A record: calls that may have lost their last waiter.
        self.abandoned: Dict[InFlight, None] = {}
        # Set from when the loop is told to apply the records until it does.
        self.waking = False
        # Held weakly by the loop, so that what goes need not wait for its turn.
        self.apply_soon = partial(loop.run, partial(_apply, ref(self)))
        self.new_cache = partial(Cache, ref(self), loop, options.maxsize, self.abandoned)

    # In the loop's thread.

    def enter(self) -> Cache:
        """Put the cache into service, with nothing recorded against it."""
        loop = asyncio.get_running_loop()
        self.loop.thread = get_ident()
        while not self.closed:
            cache = self.settled()
            if cache is None:
                cache = self.renew()
            self.serving[loop] = cache
            # Whoever comes between has seen it in service, or is seen here.
            if not self.closed and self.settled() is cache:
                return cache
        self.serving.pop(loop, None)
        raise RuntimeError(
            f"alru_cache is closed for {self.name} in this event loop."
            " Another event loop has an open cache."
        )

    def settled(self) -> Optional[Cache]:
        """The cache with all records applied; None if it is cleared, or not to be had."""
        cache = self.caches.get(self.loop)
        if cache is not None and (cache.invalidated or self.abandoned):
            self.apply()
            if cache.cleared or cache.invalidated or self.abandoned:
                return None
        return cache

    def renew(self) -> Cache:
        """An empty cache in the place of one that is cleared, or that somebody else is at."""
        last = self.caches.get(self.loop)
        cache = self.new_cache()
        if last is not None:
            cache.hits, cache.misses = last.hits, last.misses
            self.clear()
        self.caches[self.loop] = cache
        return cache

    def holds(self, cache: Cache, entry: Entry) -> bool:
        """Whether an entry is still under its key."""
        recorded = cache.invalidated or self.abandoned or cache.cleared
        if recorded and self.settled() is not cache:
            return False
        try:
            held = cache.lookup(entry.key) is entry
        except BaseException as error:  # noqa: BLE001
            self.give_up(cache, error)
            held = False
        return held

    # From anywhere.

    def is_alive(self) -> bool:
        """Whether its loop is neither closed nor gone."""
        loop = self.loop()
        return loop is not None and not loop.is_closed()

    def invalidate(self, key: Hashable) -> bool:
        cache = self.caches.get(self.loop)
        if cache is None or not cache.invalidate(key):
            self.see_to_records()
            return False
        self.retire()
        return True

    def see_to_records(self) -> None:
        """Take the cache out of service if something is recorded, or it has been cleared.

        Another thread may have done either and not come to this line yet. A call that follows
        in this thread must not find what that thread has dropped.
        """
        loop: Any = self.loop()
        serving = self.serving.get(loop)
        if serving is None:
            return
        if serving.invalidated or serving is not self.caches.get(self.loop):
            self.retire()

    def abandon(self, call: InFlight) -> None:
        """Look at a call that may have lost its last waiter."""
        self.abandoned[call] = None
        self.retire()

    def retire(self) -> None:
        """Take the cache out of service, as something is recorded."""
        loop: Any = self.loop()
        self.serving.pop(loop, None)
        if not self.waking or not self.loop.is_running():
            self.waking = True
            self.apply_soon()

    def clear(self) -> None:
        """Drop the cache, and with it the refreshes that nobody has joined."""
        cache = self.caches.pop(self.loop, None)
        if cache is None:
            self.see_to_records()
            return
        cache.cleared = True
        loop: Any = self.loop()
        self.serving.pop(loop, None)
        cache.expiry.stop()
        for call in list(self.running):
            if call.cache() is cache:
                call.waiters.pop(None, None)  # its entry waits no more
                if not call.waiters:
                    self.abandon(call)
        if self.loop.is_running() and loop is not asyncio._get_running_loop():
            self.loop.run(_let_go, cache)

    def close(self) -> None:
        self.closed = True
        loop: Any = self.loop()
        self.serving.pop(loop, None)
        cache = self.caches.get(self.loop)
        if cache is not None:
            cache.expiry.stop()

    # In the loop's thread, or where no thread runs the loop.

    def apply(self) -> None:
        """Apply the records.

        Nobody waits for the token. Who cannot have it has left a record, and whoever has it
        looks again when it is returned.
        """
        self.waking = False
        cache = self.caches.get(self.loop)
        if cache is None:  # it has been cleared; calls may still be abandoned
            cache = self.new_cache()
        while (cache.invalidated or self.abandoned) and cache.take_token():
            try:
                cache.remove_invalidated()
                self.cancel_abandoned(cache)
            except BaseException as error:  # noqa: BLE001, PERF203
                self.give_up(cache, error)
                cache.invalidated.clear()
            finally:
                cache.return_token()

    def cancel_abandoned(self, cache: Cache) -> None:
        for call in list(self.abandoned):
            self.abandoned.pop(call, None)
            if not call.waiters:  # else it has been joined meanwhile
                call.cancel()
                cache.remove(call.entry)

    def give_up(self, cache: Cache, error: BaseException) -> None:
        """Have the cache cleared, as a key has raised amid a step.

        Who has only come by is not told, be it a call of another key or a cancelled caller.
        """
        cache.give_up()
        loop = self.loop()
        if loop is None or not isinstance(error, Exception):
            raise error
        loop.call_exception_handler(
            {"message": f"a key of {self.name} cannot be compared", "exception": error}
        )


def _apply(reference: "ref[State]") -> None:
    state = reference()
    if state is not None:
        state.apply()


def _let_go(cache: Cache) -> None:
    """A result goes in the thread of its loop."""
