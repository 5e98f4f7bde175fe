"""A call in flight: the task that runs the function, and the callers who wait for it.

The task runs the function's own coroutine. A :class:`Call` is a plain object beside it. It is
settled by whatever first sees that the task is done: the task's callback, the caller that has
just started it, or a caller that comes in between. All of this happens in the loop's thread.
"""

import asyncio
import functools
import sys
from asyncio import AbstractEventLoop, Future, Task
from contextvars import copy_context
from functools import partial
from time import monotonic
from types import CoroutineType
from typing import Any, Awaitable, Dict, Hashable, List, Optional, Sequence, Set, Tuple, cast
from weakref import ref

from ._cache import EMPTY, MISSING, Cache, Entry, nothing, run_in
from ._loops import Function, Loops

# asyncio has a call graph from 3.14 on.
_add_to_graph: Any = getattr(asyncio, "future_add_to_awaited_by", nothing)
_discard_from_graph: Any = getattr(asyncio, "future_discard_from_awaited_by", nothing)

_Coroutine: Any = CoroutineType
# How many functions may start on the stack of one another.
_DEPTH = 8


class Call:
    """A call in flight, or one in the background: a refresh that no caller has joined."""

    def __init__(
        self,
        loops: Loops,
        entry: Entry,
        coroutine: Any,
        caller: "Optional[Call]",
        *,
        background: bool = False,
    ) -> None:
        self.loops = loops
        self.loop = asyncio.get_running_loop()
        self.entry = entry
        # The function's own.
        self.coroutine = coroutine
        # None until the task has been made: an eager one takes its first step before that.
        self.task: Any = None
        # Of the task, for a ttl function.
        self.context: Any = None
        # A future for each caller that waits, so that each can leave alone. After a failure,
        # the callers that are yet to receive it.
        self.waiters: "Dict[Future[None], None]" = {}
        self.background = background
        # How many eager starts are on the stack below it. A caller that has no task yet is
        # in its first step, and so on the stack.
        self.depth: int = 0 if caller is None or caller.task is not None else caller.depth + 1
        # The calls that this one waits for: one that it awaits, or several that it closes.
        self.waits: Sequence[Call] = ()
        # True while a ttl function is asked about the result.
        self.settling = False
        # The outcome. The traceback is kept because each raise prolongs the error's own.
        self.settled = False
        self.value: Any = None
        self.error: Optional[BaseException] = None
        self.traceback: Any = None
        # Whether a caller has received the error.
        self.received = False

    def __repr__(self) -> str:
        kind = "settled" if self.settled else "background" if self.background else "in flight"
        name = self.loops.function.name
        return f"<Call of {name}, {kind}, {len(self.waiters)} waiters>"

    # Its start and its end.

    def start(self, cache: Cache) -> None:
        """Make the task. An eager one runs at once up to where the function suspends."""
        # Plain assignments, which can be undone even if there is no stack for more.
        cache.hits += self.background
        cache.misses += not self.background
        try:
            # Before the task is made, so that an eager first step finds its own call.
            register(self)
            self.entry.call = self
            if not self.background:
                cache.insert(self.entry)
            elif cache.bounded:
                cache.touch(self.entry.key)
            eager = self.depth < _DEPTH and not self.background and _starts_eagerly(self.loop)
            make: Any = partial(Task, loop=self.loop, eager_start=True)
            if not eager:
                _require_stack()
                make = self.loop.create_task
            self.task = make(self.coroutine)
            if self.loops.function.options.asks:
                self.context = getattr(self.task, "get_context", copy_context)()  # from 3.12
            if not self.settle():
                self.task.add_done_callback(self.finish)
                if hasattr(self.task, "_log_destroy_pending"):
                    # If the loop is closed too early, asyncio warns of the caller's task.
                    self.task._log_destroy_pending = False
        except BaseException as error:
            # KeyboardInterrupt, or there is no stack for more: first what calls no function.
            cache.hits -= self.background
            cache.misses -= not self.background
            self.settled, self.received, self.entry.call = True, True, None
            if cache.lookup(self.entry.key) is self.entry and not self.background:
                del cache.entries[self.entry.key]
            if self.task is None:
                self.coroutine.close()
            else:
                self.task.cancel()
            self.end(error)
            raise
        finally:
            # Break the reference cycle: the function's frame refers to this one.
            del self

    def finish(self, _: object) -> None:
        """Settle the call, when its task is done."""
        self.settle()
        self.leave()
        # Break the reference cycle: a ttl function that failed, its frame, this frame, call.
        del self

    def settle(self) -> bool:
        """Take the outcome if the task is done; True if the call is settled."""
        task = self.task
        if self.settled or self.settling or task is None or not task.done():
            return self.settled
        # A ttl function may call the decorated function: that call joins this one.
        self.settling = True
        error: Optional[BaseException] = None
        try:
            self.value = task.result()
            self.store(self.value)
        except BaseException as raised:  # noqa: BLE001  # cancelled, or by a ttl function
            # Break the reference cycle: exception, traceback, this frame, call.
            error = raised.with_traceback(cast("Any", raised.__traceback__).tb_next)
        try:
            self.end(error)
            # A task factory may have wrapped the coroutine in a task that never ran it. This
            # comes last, because it runs code of the function.
            self.coroutine.close()
            if isinstance(error, (KeyboardInterrupt, SystemExit)) and not task.exception():
                raise error  # of a ttl function: it leaves the loop, as any callback's does
        finally:
            # Break the reference cycle: exception, traceback, frame, call.
            del error, task, self
        return True

    def store(self, value: Any) -> None:
        """Put the result into the cache, if the entry is still under its key."""
        entry, name = self.entry, self.loops.function.name
        options, cache = self.loops.function.options, self.cache()
        if cache is None:
            return
        if options.ttl is None:
            cache.entries[entry.key] = value
            return
        if options.asks:
            try:
                # In a copy: a caller that shares the context may be in it.
                lifetime = self.context.copy().run(options.lifetime, name, value)
            except BaseException:
                # Break the reference cycle: exception, traceback, frame, call.
                del self, entry, cache
                raise
            # The ttl function may have cleared or invalidated.
            cache = self.cache()
        else:
            lifetime = options.lifetime(name, value)
        if cache is None:
            return
        if lifetime is None:
            cache.remove(entry)
        else:
            cache.store(entry, value, *lifetime)

    def end(self, error: Optional[BaseException]) -> None:
        """Take the outcome to all callers."""
        self.settled = True
        self.entry.call = None
        unregister(self)
        if error is not None:
            self.error, self.traceback = error, error.__traceback__
        for waiter in list(self.waiters):
            try:  # noqa: SIM105  # contextlib.suppress() costs a tenth of a miss
                waiter.set_result(None)
            except asyncio.InvalidStateError:  # noqa: PERF203  # its caller is cancelled
                pass
        if error is not None:
            # Break the reference cycle: exception, traceback, frame.
            del error
            self.after_failure()

    def after_failure(self) -> None:
        """Remove the entry of a failed call. After a failed refresh, the old result stays."""
        cache, entry, refresh = self.cache(), self.entry, self.loops.function.options.refresh
        if cache is None:
            return
        now = monotonic()
        if refresh is not None and now < entry.expires_at:
            entry.fresh_until = min(now + refresh, entry.expires_at)
        else:
            cache.remove(entry)

    def cache(self) -> Optional[Cache]:
        """The cache, if it still has the entry; all records are applied."""
        cache = self.loops.current(self.loop)
        if cache is None or cache.lookup(self.entry.key) is not self.entry:
            return None
        return cache

    def report(self) -> None:
        """Tell asyncio of a failure that nobody has received."""
        error = self.error
        if self.received or not isinstance(error, Exception):
            return  # or cancelled, or it leaves the loop by itself
        self.received = True
        name, kept = self.loops.function.name, self.cache() is not None
        message = f"Task exception was never retrieved: {name}"
        if kept:
            message = f"A refresh failed, and the old result stays until its ttl: {name}"
        self.loop.call_exception_handler(
            {"message": message, "exception": error, "future": self.task}
        )

    # Its callers.

    async def outcome(self, here: "Optional[Task[Any]]") -> Any:
        """Wait as a caller in this task; return the result, or raise the error."""
        waiter: "Future[None]" = self.loop.create_future()
        try:
            if not self.settled:
                self.waiters[waiter] = None
                _add_to_graph(self.task, here)
                # Cancelled here, the caller leaves; the last one to leave cancels the call.
                await waiter
            if self.error is None:
                return self.value
            self.received = True
            raise self.error.with_traceback(self.traceback)  # noqa: TRY301
        except GeneratorExit:
            # The caller's coroutine is closed or collected, perhaps in another thread, or
            # during another step: the loop's next turn sees to it.
            self.waiters.pop(waiter, None)
            run_in(self.loop, self.leave)
            raise
        except BaseException:
            self.waiters.pop(waiter, None)
            self.leave()
            raise
        finally:
            _discard_from_graph(self.task, here)
            # Break the reference cycle: exception, traceback, frame, call.
            del self, here

    def leave(self) -> None:
        """Cancel the call if its last caller has left, or report what nobody received."""
        if self.waiters:
            return
        if self.settle():
            self.report()
        else:
            self.cancel()
            cache = self.cache()
            # The next call starts afresh, even while this one still cleans up.
            self.entry.call = None
            if cache is not None:
                cache.remove(self.entry)

    def release(self) -> None:
        """Release the old result of a refresh whose entry has been removed."""
        if self.cache() is None:
            self.entry.value = None

    def cancel_refresh(self) -> None:
        """Cancel a refresh whose entry has been removed, unless a caller has joined it."""
        if self.background and self.cache() is None:
            self.cancel()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def path_to(self, other: "Call") -> "Optional[List[Call]]":
        """The calls by which this one waits for another, which itself is not among them."""
        before: "Dict[Call, Optional[Call]]" = {self: None}
        following: List[Call] = [self]
        while following:
            call = following.pop()
            if call is other:
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


# All calls in flight by the id of their coroutine, weakly: a loop may be dropped, or closed,
# while calls are in flight. Such a call leaves a dead reference, until its id comes again.
_CALLS: "Dict[int, ref[Call]]" = {}


def register(call: Call) -> None:
    number, reference = id(call.coroutine), ref(call)
    _CALLS[number] = call.loops.calls[ref(call.loop)][number] = reference


def unregister(call: Call) -> None:
    number = id(call.coroutine)
    _CALLS.pop(number, None)
    call.loops.calls.get(ref(call.loop), {}).pop(number, None)


def call_of(task: "Optional[Task[Any]]") -> Optional[Call]:
    """The call that a task runs, if it runs one."""
    reference = None if task is None else _CALLS.get(id(task.get_coro()))
    return None if reference is None else reference()


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
    path = call.path_to(caller)
    if path is None:
        return ""
    names = ", ".join(each.loops.function.name for each in path)
    via = f" (via {names})" if names else ""
    return f"{caller.loops.function.name} would wait for its own result{via}"


def function_coroutine(function: Function, args: Any, kwargs: Any) -> Any:
    """The coroutine of a call; what the function returns may be another awaitable."""
    coroutine: Any = function.function(*args, **kwargs)
    if type(coroutine) is _Coroutine or asyncio.iscoroutine(coroutine):
        return coroutine
    return _await(coroutine)


def _require_stack(calls: int = 8) -> None:
    """Raise RecursionError, if at all, now: asyncio logs a task that it has made by half."""
    if calls:
        _require_stack(calls - 1)


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
    for reference in [_CALLS.get(number) for number in list(_CALLS)]:
        each = None if reference is None else reference()
        for waited in () if each is None else each.waits:
            waiting.setdefault(waited, []).append(cast("Call", each))
    found, following = {call}, [call]
    while following:
        new = [each for each in waiting.get(following.pop(), []) if each not in found]
        found.update(new)
        following += new
    return found


def _starts_eagerly(loop: AbstractEventLoop) -> bool:
    """Whether asyncio itself makes the loop's tasks, and can start them eagerly."""
    return (
        _makes_tasks_of_asyncio(cast("Any", type(loop)))
        and sys.version_info >= (3, 12)
        and loop.get_task_factory() is None
        and not loop.get_debug()
    )


@functools.lru_cache(maxsize=8)
def _makes_tasks_of_asyncio(kind: Any) -> bool:
    uvloop = getattr(sys.modules.get("uvloop"), "Loop", None)
    makers = [getattr(each, "create_task", None) for each in (asyncio.BaseEventLoop, uvloop)]
    return kind.create_task in makers
