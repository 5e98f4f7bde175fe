"""What a call does that is no plain hit, and what closing does: with calls in flight.

Each step that may wait says which calls it waits for. A call that would wait for itself is
refused.
"""

import asyncio
from time import monotonic
from types import CoroutineType
from typing import Any, Awaitable, Dict, Hashable, List, Optional, Set, Tuple

from ._cache import EMPTY, MISSING, Cache, Entry
from ._call import Call, call_of, calls_in_flight
from ._loops import Function, Loops

_Coroutine: Any = CoroutineType


async def answer(
    loops: Any,
    cache: Any,
    found: Any,
    key: Hashable,
    args: Any,
    kwargs: Any,
    coroutine: Any = None,
) -> Any:
    """What a call returns that is no plain hit.

    ``cache`` is EMPTY, or has ``found`` under the key. ``coroutine`` is the function's, if it
    has been made in advance.
    """
    here = asyncio.current_task()
    caller = call_of(here)
    call: Any = None
    try:
        if found is not MISSING or cache is EMPTY:
            cache, found = _look_up(loops, cache, found, key)
        if type(found) is not Entry or monotonic() < found.expires_at:
            return _hit(loops, cache, key, found, args, kwargs)
        call = found.call
        if call is not None:
            _join(call, cache, key, caller)
        else:
            if found is not MISSING:
                cache.remove(found)  # it has expired, and the timer is late
            if coroutine is None:
                coroutine = function_coroutine(loops.function, args, kwargs)
            call = Call(loops, Entry(key), coroutine, caller)
            if caller is not None:
                caller.waits = (call,)
            call.start(cache)
        # While it waits, a caller keeps nothing that is cleared.
        loops = cache = found = None
        if call.settled and call.error is None:
            return call.value
        return await call.outcome(here)
    finally:
        if coroutine is not None and (call is None or call.coroutine is not coroutine):
            coroutine.close()  # it was made in advance, and is not needed
        if caller is not None:
            caller.waits = ()
        # Break the reference cycle: exception, traceback, frame, call.
        del loops, cache, found, coroutine, call, caller, here


def _look_up(loops: Loops, cache: Cache, found: Any, key: Hashable) -> Tuple[Cache, Any]:
    """The cache in service, and what is under the key. A call in flight there is not done."""
    while True:
        if cache is EMPTY:
            cache = loops.enter()
            found = cache.lookup(key, MISSING)
        # A task may be done before its callback has run. Then the outcome is there afterwards.
        if type(found) is not Entry or found.call is None or not found.call.settle():
            return cache, found
        cache = EMPTY


def _hit(loops: Loops, cache: Cache, key: Hashable, found: Any, args: Any, kwargs: Any) -> Any:
    """A result that is there. If it is due, a refresh is started, unless one is running."""
    value = found.value if type(found) is Entry else found
    if type(found) is not Entry or found.call is not None or monotonic() < found.fresh_until:
        cache.hit(key)
        return value
    call: Optional[Call] = None
    try:
        coroutine = function_coroutine(loops.function, args, kwargs)
        call = Call(loops, found, coroutine, None, background=True)
        call.start(cache)
        if call.settled:
            call.leave()  # a task factory has run it at once
        else:
            call.cancel_refresh()  # its first step, if it has taken one, may remove its entry
        return value
    finally:
        # Break the reference cycle: exception, traceback, frame, call.
        del loops, cache, found, value, call


def _join(call: Call, cache: Cache, key: Hashable, caller: Optional[Call]) -> None:
    if caller is not None:
        cycle = _cycle(call, caller)
        if cycle:
            # Break the reference cycle: exception, traceback, frame, call.
            del call, cache, caller
            raise RuntimeError(cycle)
        caller.waits = (call,)
    cache.hit(key)
    call.background = False


def _cycle(call: Call, caller: Call) -> str:
    """What to say if the call waits for the caller that would wait for it."""
    path = _path(call, caller)
    if path is None:
        return ""
    names = ", ".join(each.loops.function.name for each in path)
    via = f" (via {names})" if names else ""
    return f"{caller.loops.function.name} would wait for its own result{via}"


def _path(start: Call, end: Call) -> Optional[List[Call]]:
    """The calls by which one waits for another, which itself is not among them."""
    before: Dict[Call, Optional[Call]] = {start: None}
    following: List[Call] = [start]
    while following:
        call = following.pop()
        if call is end:
            path: List[Call] = []
            step = before[call]
            while step is not None:
                path.append(step)
                step = before[step]
            return path[::-1]
        waits = [waited for waited in call.waits if waited not in before]
        before.update(dict.fromkeys(waits, call))
        following += waits
    return None


def function_coroutine(function: Function, args: Any, kwargs: Any) -> Any:
    """The coroutine of a call; what the function returns may be another awaitable."""
    coroutine: Any = function.function(*args, **kwargs)
    if type(coroutine) is _Coroutine or asyncio.iscoroutine(coroutine):
        return coroutine
    return _await(coroutine)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def close(every: List[Loops], wait: bool) -> None:
    """Close caches of the running loop, and see their calls in flight to the end.

    The calls that wait for the one that closes are left alone.
    """
    loop, caller = asyncio.get_running_loop(), call_of(asyncio.current_task())
    for loops in every:
        loops.close(loop)
    calls: List[Call] = [call for loops in every for call in loops.calls_in(loop)]
    if caller is not None:
        waiting = _waiting_for(caller)
        caller.waits = calls = [call for call in calls if call not in waiting]
    try:
        if any(call.task is None for call in calls):
            # This is running in their first steps: they have their tasks after a turn.
            await asyncio.sleep(0)
        tasks = [call.task for call in calls if call.task is not None]
        if not wait:
            for call in calls:
                call.cancel()
        if tasks:
            # Cancelled here, the caches stay closed, and the calls go on as they are.
            await asyncio.wait(tasks)
    finally:
        if caller is not None:
            caller.waits = ()


def _waiting_for(call: Call) -> Set[Call]:
    """The calls that wait for this one, directly or through others, and itself."""
    waiting: Dict[Call, List[Call]] = {}
    for each in calls_in_flight():
        for waited in each.waits:
            waiting.setdefault(waited, []).append(each)
    found, following = {call}, [call]
    while following:
        new = [each for each in waiting.get(following.pop(), []) if each not in found]
        found.update(new)
        following += new
    return found
