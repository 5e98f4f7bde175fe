"""Closing: the caches of a loop are closed for good, and their calls in flight end."""

from asyncio import Future, current_task
from typing import Any, List, Optional, Set

from ._call import Call, call_of, wake
from ._state import State


async def close(states: List[State], wait: bool) -> None:
    """Close caches of the running loop, and see their calls in flight to the end."""
    caller = call_of(current_task())
    for state in states:
        state.close()
    if caller is not None:
        wake(caller.state)  # who waits for the caller's end is not to do so now
    cancelled: Set[Call] = set()
    while True:
        pending = {call for state in states for call in _pending(state, caller)}
        if not pending:
            return
        if not wait:
            for call in pending - cancelled:
                if call.task is not None:  # else a task for it is being made
                    call.cancel()
                    cancelled.add(call)
        await _change(states, caller)


async def _change(states: List[State], caller: Optional[Call]) -> None:
    """Wait until a call ends, or is not to be waited for any more."""
    closing: "Future[None]" = Future()
    for state in states:
        state.closings[closing] = None
    if caller is not None:
        caller.closing = closing
    try:
        # Cancelled here, the caches stay closed, and the calls go on as they are.
        await closing
    finally:
        for state in states:
            state.closings.pop(closing, None)
        if caller is not None:
            caller.closing = None


def _pending(state: State, caller: Optional[Call]) -> List[Call]:
    """The calls in flight, less those that wait for the caller or for another that closes."""
    calls: List[Any] = list(state.running)
    return [
        call
        for call in calls
        if not any(waited is caller or waited.closing for waited in call.chain())
    ]
