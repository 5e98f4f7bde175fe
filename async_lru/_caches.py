"""The caches of a decorated function, or of one instance of a method: one for each event loop.

Only a loop's own thread changes its cache. A hit takes the cache from ``serving`` and checks
nothing else. Any other change, from anywhere, leaves a record, *then* takes the cache out of
service. The loop's next call applies the records, puts the cache into service, *then* looks
again whether anything is recorded. A concurrent writer either found the cache in ``serving``
and removed it, or recorded its change before this check. There is no lock.

This code assumes that ``dict.pop``, ``dict.setdefault``, ``dict.copy``, ``list(dict)``, the
methods of a ``set``, ``&=`` and ``-=``, and the setting of an item or an attribute are
atomic, with and without the global interpreter lock.
"""

import asyncio
import contextlib
import functools
import inspect
import sys
import types
import warnings
from asyncio import AbstractEventLoop
from functools import partial
from typing import Any, Callable, Dict, Hashable, List, Optional, Set, Tuple, TypedDict
from weakref import ref

from ._cache import EMPTY, Cache, Entry, nothing, run_in
from ._options import Options, unwrap_partial


class AlruCacheLoopResetWarning(UserWarning):
    """Cached results were dropped, because the event loop that they belong to is closed.

    Such results may be unusable in another loop, as a socket or a lock is. The warning is
    issued once for each decorated function, by the first call in a new loop.
    """


class _CacheParameters(TypedDict):
    """The result of ``cache_parameters()``."""

    typed: bool
    maxsize: Optional[int]
    tasks: int
    closed: bool


class Function:
    """A decorated function, as all of its caches refer to it: see ``_regimes``."""

    def __init__(self, function: Callable[..., Any], name: str, options: Options) -> None:
        self.function = function
        self.name = name
        self.options = options
        self.make_key = options.key_maker()
        # Weak references to the function's own caches, or to those of each instance.
        self.living: Set[ref[Caches]] = set()
        # The loops in which it has been called, and those in which it is closed for all
        # instances, future ones included.
        self.called_in: Set[ref[AbstractEventLoop]] = set()
        self.closed: Set[ref[AbstractEventLoop]] = set()
        # Whether the loop-reset warning has been issued.
        self.warned = False

    # From anywhere.

    def every(self) -> "List[Caches]":
        """The function's own caches, or those of all living instances."""
        return _existing(self.living)

    def info(self, every: "List[Caches]") -> functools._CacheInfo:
        existing = [cache for caches in every for cache in caches.existing()]
        return functools._CacheInfo(
            hits=sum(cache.hits for cache in existing),
            misses=sum(cache.misses for cache in existing),
            maxsize=self.options.maxsize,
            currsize=sum(map(len, existing)),
        )

    def parameters(self, every: "List[Caches]") -> _CacheParameters:
        # The loops in which each has been called or closed, and that still exist.
        known = [
            (caches, loop)
            for caches in every
            for reference in list(caches.calls)
            if (loop := reference()) is not None
        ]
        here = asyncio._get_running_loop()
        # Whether each is closed in the running loop or, without one, in every loop.
        closed = [caches.is_closed(loop) for caches, loop in known if here in (None, loop)]
        everywhere = here is not None and ref(here) in self.closed
        return {
            "typed": self.options.typed,
            "maxsize": self.options.maxsize,
            "tasks": sum(
                len(caches.calls_in(loop)) for caches, loop in known if not loop.is_closed()
            ),
            "closed": everywhere or (bool(closed) and all(closed)),
        }

    def explain(self, error: TypeError, key: Hashable) -> None:
        """If the key is not hashable, add a note to the error that says what to do."""
        note = f"The key= function of {self.name} must return a hashable value."
        if self.options.key is None:
            note = (
                f"{self.name} is cached by its arguments. Pass hashable values, use key= to"
                " compute a hashable key or, for a method of instances that are not hashable,"
                " per_instance=True."
            )
        try:
            hash(key)
        except TypeError:
            with contextlib.suppress(AttributeError):  # there are no notes below 3.11
                error.add_note(note)

    def require_hashable(self, key: Hashable) -> None:
        try:
            hash(key)
        except TypeError as error:
            self.explain(error, key)
            raise

    # In a loop's thread.

    def closing(self) -> "List[Caches]":
        """Refuse calls in the running loop from now on; return the caches to close."""
        self.closed.add(ref(asyncio.get_running_loop()))
        return self.every()

    def closed_error(self) -> RuntimeError:
        return RuntimeError(
            f"alru_cache is closed for {self.name} in this event loop."
            " Another event loop has an open cache."
        )

    def add_loop(self, loop: AbstractEventLoop) -> None:
        """Remember a loop that calls for the first time, and drop those that do not run."""
        for loops in self.called_in, self.closed:
            loops -= {reference for reference in loops.copy() if reference() is None}
        self.called_in.add(ref(loop))
        for caches in self.every():
            caches.remove_idle(with_caches=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}, {len(self.living)} living>"


class Caches:
    """One cache for each event loop."""

    __slots__ = ("__weakref__", "by_loop", "calls", "closed", "function", "owner", "serving")

    def __init__(self, function: Function) -> None:
        self.function = function
        # A weak reference to the instance that holds this, if one does.
        self.owner: Callable[[], Any] = nothing
        # All caches. Only a loop's own thread adds one; any thread may remove it.
        self.by_loop: Dict[ref[AbstractEventLoop], Cache] = {}
        # The caches that a hit may use; EMPTY for one that is out of service. This table keeps
        # its loops alive, so that the caches of ended loops can be looked at. Putting
        # a loop in removes loops that do not run.
        self.serving: Dict[AbstractEventLoop, Cache] = {}
        # For each loop in which it has been called or closed: weak references to the calls in
        # flight, also to those without an entry.
        self.calls: Dict[ref[AbstractEventLoop], Set[Any]] = {}
        # The loops in which it is closed.
        self.closed: Set[ref[AbstractEventLoop]] = set()
        function.living.add(ref(self, function.living.discard))

    # In the loop's thread.

    def enter(self) -> Cache:
        """Apply the records of the running loop's cache, and put it into service."""
        loop = asyncio.get_running_loop()
        reference = ref(loop)
        while not self.is_closed(loop):
            cache = self.by_loop.get(reference)
            if cache is None:
                cache = self.bind(loop)
            cache.apply()
            self.remove_idle(with_caches=loop not in self.serving)
            self.serving[loop] = cache
            # A concurrent writer has found the cache in service, or its change is seen here.
            in_place = self.by_loop.get(reference) is cache and not cache.invalidated
            if in_place and not self.is_closed(loop):
                return cache
        self.retire(loop)
        raise self.function.closed_error()

    def bind(self, loop: AbstractEventLoop) -> Cache:
        """Make an empty cache for a loop. A new loop drops the caches of closed loops."""
        function = self.function
        if ref(loop) not in function.called_in:
            function.add_loop(loop)
        lost = ref(loop) not in self.calls and self.remove_closed()
        cache = Cache(ref(loop), function.options.maxsize)
        # After a clear, the table is there already: calls in flight stay in it.
        self.calls.setdefault(ref(loop), set())
        # If the loop is freed, so is its cache, in whichever thread.
        self.by_loop[ref(loop, partial(_forget, ref(self)))] = cache
        if lost and not function.warned:
            function.warned = True
            # Filters written for async_lru 2.4 match the first words.
            _warn(
                f"alru_cache detected event loop change: {function.name} was called in a new"
                " event loop, and its results for a closed event loop were dropped. This is"
                " harmless in tests.",
                function.function,
            )
        return cache

    def remove_closed(self) -> bool:
        """Remove everything for loops that are closed or freed.

        True if this drops results of a cache that had not been closed itself.
        """
        lost = False
        for reference in list(self.calls):
            loop = reference()
            if loop is not None and not loop.is_closed():
                continue
            if loop is not None:
                cache = self.by_loop.pop(reference, None)
                lost |= cache is not None and len(cache) > 0 and not self.is_closed(loop)
                self.serving.pop(loop, None)
            self.calls.pop(reference, None)
            self.closed.discard(reference)
        return lost

    def remove_idle(self, *, with_caches: bool) -> None:
        """Drop loops that do not run: those without a cache or, with_caches, all open ones.

        Closed loops that have a cache stay, so that it is counted. An open one may be about to
        be closed, by ``asyncio.run()`` in another thread.
        """
        for loop in list(self.serving):
            kept = ref(loop) in self.by_loop and (loop.is_closed() or not with_caches)
            if not loop.is_running() and not kept:
                self.serving.pop(loop, None)

    # From anywhere.

    def is_closed(self, loop: AbstractEventLoop) -> bool:
        return ref(loop) in self.closed or ref(loop) in self.function.closed

    def existing(self) -> List[Cache]:
        """The caches whose loops still exist."""
        return [cache for cache in self.by_loop.copy().values() if cache.loop() is not None]

    def calls_in(self, loop: AbstractEventLoop) -> List[Any]:
        """The calls in flight in a loop, also those without an entry."""
        calls = _existing(self.calls.get(ref(loop), set()))
        # One that ran out of stack may be settled, and still in the set.
        return [call for call in calls if not call.settled]

    def retire(self, loop: AbstractEventLoop) -> None:
        """Take a loop's cache out of service, until the loop has applied the records."""
        if loop in self.serving:
            self.serving[loop] = EMPTY

    def invalidate(self, key: Hashable) -> bool:
        found = [cache.invalidate(key) for cache in self.existing()]
        self.retire_changed()
        return any(found)

    def clear(self) -> None:
        """Drop the caches as a whole. The next calls make new ones."""
        # Keep a reference to the caches until all are out of service, because the finalizer of
        # a result may call the function, and must not find a cleared result.
        dropped = [self.by_loop.pop(reference, EMPTY) for reference in list(self.by_loop)]
        self.retire_changed()
        # Another thread may have dropped one first, or its loop may be gone.
        with_loops = [(each, loop) for each in dropped if (loop := each.loop()) is not None]
        for cache, loop in with_loops:
            calls = self.calls_in(loop)
            if loop.is_running():
                stop_timer = cache.close  # and release the results in the loop's thread
            else:
                # Release the results here. If the loop has started to run in between, it does
                # not use this cache any more.
                for call in calls:
                    entry: Entry = call.entry
                    if cache.lookup(entry.key) is entry:
                        entry.value = None
                watch = cache.watch()
                stop_timer = nothing if watch is None else watch.cancel
            run_in(loop, partial(_cancel_refreshes, calls, stop_timer))

    def retire_changed(self) -> None:
        """Take out of service each cache that was cleared or has records.

        This includes those that another thread has cleared and not yet taken out of service.
        """
        for loop, cache in self.serving.copy().items():
            if cache.invalidated or cache is not self.by_loop.get(ref(loop)):
                self.retire(loop)

    def close(self, loop: AbstractEventLoop) -> None:
        self.closed.add(ref(loop))
        self.calls.setdefault(ref(loop), set())
        self.remove_idle(with_caches=False)
        # This keeps the loop alive, so that cache_parameters() can report it as closed.
        self.serving[loop] = EMPTY
        cache = self.by_loop.get(ref(loop))
        if cache is not None:
            cache.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        # In a copy or pickle of its instance it is None. (joblib cannot hash NoneType.)
        return getattr, (None, "", None)

    def __repr__(self) -> str:
        return f"<Caches of {self.function.name}, {len(self.by_loop)} loops>"


def _existing(references: "Set[Any]") -> List[Any]:
    """The objects that weak references refer to, without those that have been freed."""
    # A set that was large once stays slow to copy. This makes its table small again.
    references &= references
    return [each for reference in references.copy() if (each := reference()) is not None]


def _forget(reference: "ref[Caches]", loop: "ref[AbstractEventLoop]") -> None:
    # All of the caches may be gone as well.
    getattr(reference(), "by_loop", {}).pop(loop, None)


def _cancel_refreshes(calls: List[Any], stop_timer: Callable[[], object]) -> None:
    """Cancel the refreshes and the timer of a cleared cache."""
    for call in calls:
        call.cancel_refresh()
    stop_timer()


_COROUTINE = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def _warn(message: str, function: Any) -> None:
    """Issue the warning for the line that awaits the call.

    If the call is a task by itself, no line awaits it: then for the function's first line.
    """
    level = 1
    frame: Optional[types.FrameType] = sys._getframe()
    while frame is not None and _is_passed(frame):
        level, frame = level + 1, frame.f_back
    if frame is not None and _is_coroutine(frame):
        warnings.warn(message, AlruCacheLoopResetWarning, level)
        return
    function = inspect.unwrap(unwrap_partial(function))
    if type(getattr(function, "__code__", None)) is not types.CodeType:
        function = _warn  # a mock has no file
    file, line = function.__code__.co_filename, function.__code__.co_firstlineno
    registry = function.__globals__.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message, AlruCacheLoopResetWarning, file, line, function.__module__, registry
    )


def _is_coroutine(frame: types.FrameType) -> bool:
    return frame.f_code.co_flags & _COROUTINE != 0


def _is_passed(frame: types.FrameType) -> bool:
    """Whether a frame is ours, or in a coroutine of asyncio such as ``wait_for``."""
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return package == "async_lru" or (package == "asyncio" and _is_coroutine(frame))
