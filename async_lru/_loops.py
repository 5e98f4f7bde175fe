"""The caches of a decorated function, or of one instance of a method, by event loop."""

import asyncio
import functools
import sys
import types
import warnings
from asyncio import get_running_loop
from threading import get_ident
from typing import Any, Callable, Dict, Hashable, List, Optional, Set, TypedDict
from weakref import WeakSet, ref

from ._cache import Cache
from ._keys import why_unhashable
from ._loop import LoopRef
from ._options import Options
from ._state import State


class AlruCacheLoopResetWarning(UserWarning):
    """Results cached for an event loop are gone, because that loop was closed.

    Without it they may be of no use, as a socket or a lock would be. Issued once for each
    decorated function, by the first call in a new loop that finds entries of a closed one.
    """


class _CacheParameters(TypedDict):
    """What ``cache_parameters()`` returns."""

    typed: bool
    maxsize: Optional[int]
    tasks: int
    closed: bool


class Decorated:
    """A function, and what holds for all its caches."""

    __slots__ = ("closed", "function", "living", "name", "options", "seen", "typed", "warned")

    def __init__(
        self, function: Callable[..., Any], name: str, options: Options, typed: bool
    ) -> None:
        self.function = function
        self.name = name
        self.options = options
        self.typed = typed
        # What has been made of it and is still there.
        self.living: Set[ref[Loops]] = set()
        # The loops that have been met, and those in which all caches are closed, also the ones
        # that are yet to be made.
        self.seen: "WeakSet[asyncio.AbstractEventLoop]" = WeakSet()
        self.closed: "WeakSet[asyncio.AbstractEventLoop]" = WeakSet()
        # Whether the loop-reset warning has been issued.
        self.warned = False

    def every(self) -> "List[Loops]":
        """All that there are. From anywhere."""
        return [loops for loops in (ref() for ref in self.living.copy()) if loops is not None]

    def explain(self, error: TypeError, key: Hashable) -> None:
        """Say what helps if a key cannot be hashed, in a note: from 3.11 there are some."""
        try:
            hash(key)
        except TypeError:
            note = why_unhashable(self.name, key, keyed=self.options.keyed)
            getattr(error, "add_note", str)(note)

    def require_hashable(self, key: Hashable) -> None:
        try:
            hash(key)
        except TypeError as error:
            self.explain(error, key)
            raise


class Loops:
    """A cache for each event loop."""

    __slots__ = ("__weakref__", "caches", "decorated", "last", "serving", "states")

    def __init__(self, decorated: Decorated) -> None:
        self.decorated = decorated
        # The caches that may be looked up without further question. This keeps their loops
        # alive; so the next loop takes out those that do not run, which come back with their
        # next call.
        self.serving: Dict[asyncio.AbstractEventLoop, Cache] = {}
        # All caches, and what outlives them. They go when their loop does.
        self.caches: Dict[ref[asyncio.AbstractEventLoop], Cache] = {}
        self.states: Dict[ref[asyncio.AbstractEventLoop], State] = {}
        # The loop used last is kept alive, so that what it has cached can still be looked at.
        self.last: Optional[asyncio.AbstractEventLoop] = None
        decorated.living.add(ref(self, decorated.living.discard))

    # In a loop's thread.

    def enter(self) -> Cache:
        """The running loop's cache, put into service. Only calls do this."""
        loop = get_running_loop()
        state = self.states.get(ref(loop))
        if state is None:
            lost = self.discard_closed()
            state = self.bind(loop)
            if lost:
                self.warn()
        if self.last is not loop:
            self.let_go()
            self.last = loop
        return state.enter()

    def here(self) -> State:
        """What there is for the running loop, made if need be."""
        loop = get_running_loop()
        return self.states.get(ref(loop)) or self.bind(loop)

    def bind(self, loop: asyncio.AbstractEventLoop) -> State:
        """Make the state of a new loop."""
        decorated = self.decorated
        if loop not in decorated.seen:
            decorated.seen.add(loop)
            for loops in decorated.every():
                loops.let_go()
        reference = LoopRef(loop, functools.partial(_forget, ref(self)))
        reference.thread = get_ident()
        state = State(
            decorated.function,
            decorated.name,
            reference,
            decorated.options,
            self.caches,
            self.serving,
        )
        self.states[reference] = state
        # Whoever closes all of them has put the loop there, and then looks for the states.
        state.closed = loop in decorated.closed
        return state

    def warn(self) -> None:
        """Issue the loop-reset warning, once for each decorated function."""
        decorated = self.decorated
        if not decorated.warned:
            decorated.warned = True
            # Filters written for async_lru 2.4 match the beginning of the text.
            warnings.warn(
                f"alru_cache detected event loop change: {decorated.name} was called in a new"
                " event loop, and its results for a closed event loop were dropped. This is"
                " harmless in tests.",
                AlruCacheLoopResetWarning,
                stacklevel=_stacklevel_of_caller(),
            )

    def let_go(self) -> None:
        """Keep no loop alive that its owner may have dropped."""
        for loop in list(self.serving):
            if not loop.is_running() and not loop.is_closed():
                self.serving.pop(loop, None)
        last = self.last  # another thread may be at the same
        if last is not None and not last.is_closed():
            self.last = None

    def empty(self) -> None:
        """Keep nothing: nobody will call any more."""
        self.serving.clear()
        self.caches.clear()

    def discard_closed(self) -> bool:
        """Whether results are lost thereby."""
        lost = False
        for reference, state in list(self.states.items()):
            loop = reference()
            if loop is not None and loop.is_closed():
                self.serving.pop(loop, None)
                self.states.pop(reference, None)
                cache = self.caches.pop(reference, None)
                lost |= cache is not None and len(cache) > 0 and not state.closed
        return lost

    # From anywhere.

    def is_unused(self) -> bool:
        """Whether there is nothing to be kept."""
        caches, states = list(self.caches.values()), list(self.states.values())
        return not (
            any(cache.hits or cache.misses or cache.entries for cache in caches)
            or any(state.running for state in states)
            or any(
                state.closed and state.loop() not in self.decorated.closed for state in states
            )
        )

    def contain(self, key: Hashable) -> bool:
        return any(key in cache for cache in list(self.caches.values()))

    def invalidate(self, key: Hashable) -> bool:
        invalidated = [state.invalidate(key) for state in list(self.states.values())]
        return any(invalidated)


def _forget(loops: "ref[Loops]", reference: LoopRef) -> None:
    """A loop is gone that nobody has closed."""
    remaining = loops()
    if remaining is not None:
        remaining.states.pop(reference, None)
        remaining.caches.pop(reference, None)


# Over all caches that are given. From anywhere.


def info(decorated: Decorated, every: List[Loops]) -> functools._CacheInfo:
    caches = [cache for loops in every for cache in list(loops.caches.values())]
    return functools._CacheInfo(
        hits=sum(cache.hits for cache in caches),
        misses=sum(cache.misses for cache in caches),
        maxsize=decorated.options.maxsize,
        currsize=sum(map(len, caches)),
    )


def parameters(decorated: Decorated, every: List[Loops]) -> _CacheParameters:
    alive = [state for state in _states(every) if state.is_alive()]
    return {
        "typed": decorated.typed,
        "maxsize": decorated.options.maxsize,
        "tasks": sum(len(state.running) for state in alive),
        "closed": _closed(decorated, every),
    }


def _closed(decorated: Decorated, every: List[Loops]) -> bool:
    """Whether closed in the running loop; without one, whether all there are have been."""
    loop = asyncio._get_running_loop()
    if loop is not None and loop in decorated.closed:
        return True
    states = _states(every) if loop is None else states_in(loop, every)
    return bool(states) and all(state.closed for state in states)


def _states(every: List[Loops]) -> List[State]:
    return [state for loops in every for state in list(loops.states.values())]


def states_in(loop: asyncio.AbstractEventLoop, every: List[Loops]) -> List[State]:
    return [state for state in _states(every) if state.loop() is loop]


def clear(every: List[Loops]) -> None:
    for state in _states(every):
        state.clear()


# PyPy has Context.run, in which asyncio takes its steps, in Python.
_NOT_THE_CALLER = {"async_lru", "asyncio", "_contextvars"}


def _stacklevel_of_caller() -> int:
    """For ``warnings.warn`` in the calling function: the first frame not ours or asyncio's."""
    level = 1
    frame: Optional[types.FrameType] = sys._getframe(1)
    while frame is not None and _top_package(frame) in _NOT_THE_CALLER:
        level += 1
        frame = frame.f_back
    return level


def _top_package(frame: types.FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]
