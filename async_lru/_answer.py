"""What a call awaits that gets no plain hit: a call in flight, which it joins or starts."""

import asyncio
from asyncio import Future, current_task, get_running_loop
from time import monotonic
from typing import TYPE_CHECKING, Any, Hashable, Optional, Tuple
from weakref import ref

from ._cache import Cache
from ._call import Call, add_to_call_graph, call_of, new_call
from ._entry import EXPIRED, MISSING, Entry

if TYPE_CHECKING:
    from ._state import State


def answer(
    cache: Cache, found: Entry, key: Hashable, args: Any, kwargs: Any
) -> Tuple["Future[Any]", Call]:
    """What a caller is to await that gets no plain hit, and the call that it waits for."""
    if found.until != EXPIRED and monotonic() < found.until:
        try:
            return _refreshed(cache, found, args, kwargs)
        finally:
            del cache, found
    # Each caller has a future of its own, with which it can leave.
    waiter: "Future[Any]" = Future()
    here = current_task()
    caller = call_of(here)
    call: Optional[Call] = found.call
    try:
        if call is not None:
            if caller is not None:
                call.refuse_circle(caller)
            cache.hit(key)
            if caller is not None:
                caller.awaits = ref(call)
            call.waiters[waiter] = here
            call.waiters.pop(None, None)  # a refresh becomes an ordinary call
        else:
            state: State = cache.owner()
            loop = get_running_loop()
            by_factory = _made_by_factory(loop)
            if found is not MISSING:
                cache.remove(found)  # it has expired, and its timer is late
            awaitable = state.function(*args, **kwargs)
            entry = Entry(key)
            call = new_call(state, cache, entry, {waiter: here}, awaitable)
            if caller is not None:
                caller.awaits = ref(call)
            if cache.maxsize:
                try:
                    cache.insert(entry)
                except BaseException:  # of a key
                    call.close()
                    raise
            cache.misses += 1
            try:
                call.start(loop, by_factory)
            except BaseException:
                cache.misses -= call.entry is entry  # unless it has been run
                cache.remove(entry)
                raise
        add_to_call_graph(call.task, here)
        return waiter, call
    finally:
        del cache, found, here, caller, call  # an exception keeps this frame


def _refreshed(
    cache: Cache, entry: Entry, args: Any, kwargs: Any
) -> Tuple["Future[Any]", Call]:
    """The same for a result that is due: the new one, if an eager task has it at once."""
    call: Optional[Call] = entry.call
    last: "Future[Any]" = Future()
    last.set_result(entry.value)
    try:
        if call is not None:
            cache.hit(entry.key)
            return last, call
        state: State = cache.owner()
        loop = get_running_loop()
        by_factory = _made_by_factory(loop)
        awaitable = state.function(*args, **kwargs)
        waiter: "Future[Any]" = Future()
        call = new_call(state, cache, entry, {None: None, waiter: None}, awaitable)
        try:
            cache.hit(entry.key)
        except BaseException:  # of a key
            call.close()
            raise
        try:
            call.start(loop, by_factory)
        except BaseException:
            cache.hits -= call.entry is entry  # unless it has been run
            raise
        if not state.holds(cache, entry):
            call.waiters.pop(None, None)  # it has been removed meanwhile
        call.leave(waiter)
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            return waiter, call
        return last, call
    finally:
        del cache, entry, call, last  # an exception keeps this frame


def _made_by_factory(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a task factory makes the tasks.

    It may make eager ones, which run on the stack of their caller, in turns of Python and C.
    Raises RecursionError now, rather than where nothing may fail.
    """
    if loop.get_task_factory() is None:
        return False
    _recurse(12)
    return True


def _recurse(depth: int) -> int:
    return max((depth - 1,), key=_recurse) if depth else 0
