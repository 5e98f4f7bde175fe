"""Calls that miss, join a call in flight or start a refresh; and closing.

Each call records the calls that it waits for. So a call that would wait for its own result,
directly or through other decorated calls, is detected and raises.
"""

import asyncio
from time import monotonic
from types import CoroutineType
from typing import Any, Awaitable, Hashable, List, Optional, Set, Tuple
from weakref import ref

from ._cache import EMPTY, MISSING, Cache, Entry, nothing
from ._caches import Caches, Function
from ._call import Call, call_of, current_in_python, require_stack

_Coroutine: Any = CoroutineType


async def answer(
    caches: Any,
    cache: Any,
    found: Any,
    key: Hashable,
    args: Any,
    kwargs: Any,
    coroutine: Any = None,
) -> Any:
    """Return the result of a call that is not a plain hit.

    ``cache`` is EMPTY, or has ``found`` under the key. ``coroutine`` is the function's, if the
    caller has made it already.
    """
    here: Any = asyncio.current_task() or current_in_python()
    caller = call_of(here)
    call: Any = None
    expired: Any = None
    try:
        # Where nothing was found in a cache that is in service, a second look is superfluous.
        if found is not MISSING or cache is EMPTY:
            cache, found = _look_up(caches, cache, found, key)
        if type(found) is not Entry or monotonic() < found.expires_at:
            return _hit(caches, cache, key, found, args, kwargs)
        call = found.call
        if call is not None:
            _join(call, cache, key, caller)
        else:
            if found is not MISSING:
                # It has expired, and the timer is late. Keep a reference to the result until
                # the new entry is in place, because its finalizer may call the function.
                expired = found.value
                cache.remove(found)
            if coroutine is None:
                coroutine = function_coroutine(caches.function, args, kwargs)
            call = Call(caches, Entry(key), coroutine, caller)
            if caller is not None:
                caller.wait_for([call])
            call.start(cache)
        # While it waits, a caller keeps nothing that is cleared.
        cache = found = expired = None
        if call.settled and call.error is None:
            return call.value
        # A weak reference, because the task refers to this frame: if its loop is closed too
        # early, that is a reference cycle.
        here = nothing if here is None else ref(here)
        return await call.outcome(here)
    finally:
        if coroutine is not None and (call is None or call.coroutine is not coroutine):
            coroutine.close()  # another call has come first
        if caller is not None:
            caller.wait_for(())
        # Break the reference cycle: exception, traceback, frame, call.
        del caches, cache, found, expired, coroutine, call, caller, here


def _look_up(caches: Caches, cache: Cache, found: Any, key: Hashable) -> Tuple[Cache, Any]:
    """Return the cache, in service, and its entry. First settle a call whose task is done."""
    while True:
        if cache is EMPTY:
            cache = caches.enter()
            found = cache.lookup(key, MISSING)
        call = found.call if type(found) is Entry else None
        if call is None or not call.ready():
            return cache, found
        # The task's callback has not run yet. Other callers must not miss this outcome.
        require_stack(16)
        call.settle()
        cache = EMPTY


def _hit(
    caches: Caches, cache: Cache, key: Hashable, found: Any, args: Any, kwargs: Any
) -> Any:
    """Return a cached result. If it is due and no refresh is running, start one."""
    value = found.value if type(found) is Entry else found
    if type(found) is not Entry or found.call is not None or monotonic() < found.fresh_until:
        cache.hit(key)
        return value
    call: Optional[Call] = None
    try:
        coroutine = function_coroutine(caches.function, args, kwargs)
        call = Call(caches, found, coroutine, None, background=True)
        call.start(cache)
        if call.settled:
            call.report()  # a task factory has run it at once
        else:
            call.cancel_refresh()  # its first step may have removed the entry
        return value
    finally:
        # Break the reference cycle: exception, traceback, frame, call.
        del caches, cache, found, value, call


def _join(call: Call, cache: Cache, key: Hashable, caller: Optional[Call]) -> None:
    if caller is not None:
        if call in _waiting_for(caller):
            name = caller.caches.function.name
            # Break the reference cycle: exception, traceback, frame, call.
            del call, cache, caller
            raise RuntimeError(f"{name} would wait for its own result")
        caller.wait_for([call])
    cache.hit(key)
    call.background = False


def _waiting_for(call: Call) -> Set[Call]:
    """The call itself, and those that wait for it, directly or through others."""
    waiting: Set[Call] = set()
    new: Set[Call] = {call}
    while new:
        waiting |= new
        new = {each for waited in new for each in waited.waited_by.copy()} - waiting
    return waiting


def function_coroutine(function: Function, args: Any, kwargs: Any) -> Any:
    """Call the function. If it returns another awaitable, wrap that in a coroutine."""
    coroutine: Any = function.function(*args, **kwargs)
    if type(coroutine) is _Coroutine or asyncio.iscoroutine(coroutine):
        return coroutine
    return _await(coroutine)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def close(every: List[Caches], wait: bool) -> None:
    """Close caches in the running loop, and wait until their calls in flight have ended.

    Calls that wait for the call that closes are neither cancelled nor waited for.
    """
    loop = asyncio.get_running_loop()
    caller = call_of(asyncio.current_task() or current_in_python())
    for caches in every:
        caches.close(loop)
    calls: List[Call] = [call for caches in every for call in caches.calls_in(loop)]
    if caller is not None:
        spared = _waiting_for(caller)
        calls = [call for call in calls if call not in spared]
        caller.wait_for(calls)
    try:
        if any(call.task is None for call in calls):
            # An eager one is still in its first step, which has led here. It has a task after
            # one turn.
            await asyncio.sleep(0)
        tasks = [call.task for call in calls if call.task is not None]
        if not wait:
            for call in calls:
                call.cancel()
        if tasks:
            # If this is cancelled here, the caches stay closed and the calls continue.
            await asyncio.wait(tasks)
    finally:
        if caller is not None:
            caller.wait_for(())
