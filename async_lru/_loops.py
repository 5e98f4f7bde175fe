"""One decorated function's caches: each event loop has its own."""

import asyncio
import functools
import sys
import types
import warnings
from asyncio import get_running_loop
from threading import RLock
from typing import Any, Dict, Hashable, List, Optional, Set

from ._cache import Cache, Limits


class AlruCacheLoopResetWarning(UserWarning):
    """Results cached for an event loop are gone, because that loop was closed.

    Without it they may be of no use, as a socket or a lock would be. Issued once for each
    decorated function, by the first call in a new loop that finds entries of a closed one.
    """


class Loops:
    """The caches by loop. All here may be called in any thread."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.closed = False
        self._warned = False
        # Held to change anything; a loop that looks up its own cache just reads.
        self._lock = RLock()
        self._caches: Dict[asyncio.AbstractEventLoop, Cache] = {}

    def current(self) -> Cache:
        """The running loop's cache, ready to serve."""
        loop = get_running_loop()
        cache = self._caches.get(loop)
        if cache is not None and cache.serves is loop:
            return cache
        lost: List[Cache] = []
        with self._lock:
            if self.closed:
                raise RuntimeError(f"alru_cache is closed for {self.name}")
            if loop not in self._caches:
                lost = self._remove_closed_loops()
                self._caches[loop] = Cache(loop, self.limits, self._lock, set())
            cache = self._caches[loop]
            removed = cache.serve()
            warn = any(map(len, lost)) and not self._warned
            self._warned |= warn
        # Without the lock: finalizers may do anything.
        for entry in removed:
            cache.release(entry)
        del removed, lost
        if warn:
            warnings.warn(
                f"{self.name} is called in a new event loop, and what it had cached for a"
                " closed one is discarded",
                AlruCacheLoopResetWarning,
                stacklevel=_stacklevel_of_caller(),
            )
        return cache

    def _remove_closed_loops(self) -> List[Cache]:
        closed = [cache for cache in self._caches.values() if cache.loop.is_closed()]
        for cache in closed:
            del self._caches[cache.loop]
        return closed

    def info(self) -> functools._CacheInfo:
        with self._lock:
            caches = self._caches.values()
            return functools._CacheInfo(
                hits=sum(cache.hits for cache in caches),
                misses=sum(cache.misses for cache in caches),
                maxsize=self.limits.maxsize,
                currsize=sum(map(len, caches)),
            )

    def works(self) -> int:
        """How many are running."""
        with self._lock:
            caches = self._caches.values()
            return sum(len(cache.works) for cache in caches if not cache.loop.is_closed())

    def contain(self, key: Hashable) -> bool:
        hash(key)  # even if there is no cache to look it up in
        with self._lock:
            return any(key in cache for cache in self._caches.values())

    def drop(self, key: Hashable) -> bool:
        hash(key)
        with self._lock:
            caches = [cache for cache in self._caches.values() if cache.drop(key)]
        for cache in caches:
            cache.in_its_thread(cache.catch_up)
        return bool(caches)

    def clear(self) -> None:
        with self._lock:
            retired = list(self._caches.values())
            for cache in retired:
                self._caches[cache.loop] = cache.successor()
        for cache in retired:
            cache.in_its_thread(cache.retire)

    def close(self, cancel: bool) -> "Set[asyncio.Task[Any]]":
        """Close all caches; return the works of the running loop that are to end yet."""
        with self._lock:
            self.closed = True
            caches = list(self._caches.values())
            for cache in caches:
                cache.serves = None
                cache.closed = True
        for cache in caches:
            cache.in_its_thread(functools.partial(cache.close, cancel))
        here = self._caches.get(get_running_loop())
        return set() if here is None else here.tasks()


def _stacklevel_of_caller() -> int:
    """For ``warnings.warn`` in the calling function: the first frame not ours or asyncio's."""
    level = 1
    frame: Optional[types.FrameType] = sys._getframe(1)
    while frame is not None and _top_package(frame) in ("async_lru", "asyncio"):
        level += 1
        frame = frame.f_back
    return level


def _top_package(frame: types.FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]
