"""A call in flight: the task that runs the function, and the callers that wait for it.

The task runs the function's own coroutine. A :class:`Call` is a plain object beside it. It is
settled by whichever first finds the task done: the task's callback, the caller that has just
started it, or a caller that comes in between. All of this happens in the loop's thread.
"""

import asyncio
import functools
import sys
from asyncio import AbstractEventLoop, Future, Task
from contextvars import copy_context
from time import monotonic
from typing import Any, Callable, Dict, Optional, Sequence, Set, cast
from weakref import ref

from ._cache import EMPTY, Cache, Entry, nothing, run_in
from ._caches import Caches

# asyncio has a call graph from 3.14 on.
_add_to_graph: Any = getattr(asyncio, "future_add_to_awaited_by", nothing)
_discard_from_graph: Any = getattr(asyncio, "future_discard_from_awaited_by", nothing)

# From 3.14 asyncio has a table of its own for tasks written in Python, as nest_asyncio makes.
current_in_python: Any = getattr(asyncio.tasks, "_py_current_task", nothing)

# How many eager starts may be nested: each uses the stack of the one before.
_DEPTH = 8


class Call:
    """A call in flight, or one in the background: a refresh that no caller has joined."""

    def __init__(
        self,
        caches: Caches,
        entry: Entry,
        coroutine: Any,
        caller: "Optional[Call]",
        *,
        background: bool = False,
    ) -> None:
        self.caches = caches
        self.loop = asyncio.get_running_loop()
        # The set that has a reference to this call while it is in flight.
        self.in_flight = caches.calls[ref(self.loop)]
        self.entry = entry
        # The coroutine of the decorated function.
        self.coroutine = coroutine
        # None until the task has been made. An eager task takes its first step before that.
        self.task: Any = None
        # For a ttl function: the task's context, below 3.12 a copy of the caller's.
        self.context: Any = None
        # One future for each caller that waits, so that each caller can leave by itself. After
        # a failure, only those of callers that have not received the error yet are left.
        self.waiters: "Dict[Future[None], None]" = {}
        self.background = background
        # How many eager starts are below it on the stack. A caller without a task is still in
        # its first step, and so on the stack.
        self.depth: int = 0 if caller is None or caller.task is not None else caller.depth + 1
        # The calls that this one waits for: the one that it awaits, or those that it closes.
        # And the calls that wait for this one.
        self.waits: Sequence[Call] = ()
        self.waited_by: Set[Call] = set()
        # Whether settle() has begun. A ttl function may call the decorated function meanwhile:
        # that call joins this one.
        self.settling = False
        # The outcome. The traceback is kept because each raise extends the error's own.
        self.settled = False
        self.value: Any = None
        self.error: Optional[BaseException] = None
        self.traceback: Any = None
        # Whether a caller has received the error.
        self.received = False

    def __repr__(self) -> str:
        kind = "settled" if self.settled else "background" if self.background else "in flight"
        name = self.caches.function.name
        return f"<Call of {name}, {kind}, {len(self.waiters)} waiters>"

    def wait_for(self, calls: "Sequence[Call]") -> None:
        for call in self.waits:
            call.waited_by.discard(self)
        self.waits = calls
        for call in calls:
            call.waited_by.add(self)

    # Its start and its end.

    def start(self, cache: Cache) -> None:
        """Make the task. An eager one runs at once up to where the function suspends."""
        # Plain assignments, because these can be undone even when the stack is full.
        cache.hits += self.background
        cache.misses += not self.background
        try:
            # Before the task is made, so that an eager first step finds its own call.
            reference = _CALLS[id(self.coroutine)] = ref(self)
            self.in_flight.add(reference)
            self.entry.call = self
            if not self.background:
                cache.insert(self.entry)
            elif cache.bounded:
                cache.touch(self.entry.key)
            eager = self.depth < _DEPTH and not self.background and _starts_eagerly(self.loop)
            # If asyncio runs out of stack while it makes or suspends a task, it logs the task.
            require_stack(4 if eager else 8)
            self.task = (
                Task(self.coroutine, loop=self.loop, eager_start=True)
                if eager
                else self.loop.create_task(self.coroutine)
            )
            if self.caches.function.options.ttl_is_function:
                self.context = getattr(self.task, "get_context", copy_context)()  # from 3.12
            if self.task.done():
                self.settle()
            else:
                self.task.add_done_callback(self.leave)
                if hasattr(self.task, "_log_destroy_pending"):
                    # If the loop is closed too early, asyncio warns about the caller's task.
                    self.task._log_destroy_pending = False
        except BaseException as error:
            # KeyboardInterrupt, or the stack is full. Undo first what calls no function. The
            # caller receives the error, so it is not to be reported.
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
            # Break the reference cycle: an eager function's frame, this frame, call.
            del self

    def ready(self) -> bool:
        """Whether the task is done, and the call is still to be settled."""
        task = self.task
        return not (self.settled or self.settling or task is None) and bool(task.done())

    def settle(self) -> None:
        """Take the outcome, and hand it to the callers."""
        task = self.task
        self.settling = True
        error: Optional[BaseException] = None
        try:
            self.value = task.result()
            self.store(self.value)
        except BaseException as raised:  # noqa: BLE001  # cancelled, or raised by a ttl function
            # Break the reference cycle: exception, traceback, this frame, call. (The traceback
            # gets no name here, because it may refer to this frame itself.)
            error = BaseException.with_traceback(
                raised, cast("Any", raised.__traceback__).tb_next
            )
        try:
            self.end(error)
            # A task factory may have wrapped the coroutine in a task that never started it.
            # Closing comes last, because it runs code of the function.
            self.coroutine.close()
            if isinstance(error, (KeyboardInterrupt, SystemExit)) and not task.exception():
                raise error  # raised by the ttl function: stop the loop, as any callback would
        finally:
            # Break the reference cycle: exception, traceback, frame, call.
            del error, task, self

    def store(self, value: Any) -> None:
        """Put the result into the cache, if the entry is still under its key."""
        options, cache = self.caches.function.options, self.cache()
        if cache is None:
            return
        if options.ttl is None:
            cache.entries[self.entry.key] = value
            return
        try:
            lifetime = options.lifetime(self.caches.function.name, value, self.context)
            if options.ttl_is_function:
                cache = self.cache()  # the ttl function may have cleared or invalidated
            if cache is None:
                return
            if lifetime is None:
                cache.remove(self.entry)
            else:
                cache.store(self.entry, value, *lifetime)
        finally:
            # Break the reference cycle: exception, traceback, frame, call.
            del self, cache

    def end(self, error: Optional[BaseException]) -> None:
        """Wake all callers; they take the outcome from here."""
        self.settled = True
        self.entry.call = None
        self.in_flight.discard(_CALLS.pop(id(self.coroutine), None))
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
        cache, entry, now = self.cache(), self.entry, monotonic()
        if cache is not None and now < entry.expires_at:
            refresh = self.caches.function.options.refresh
            entry.fresh_until = min(now + refresh, entry.expires_at)
        elif cache is not None:
            cache.remove(entry)

    def cache(self) -> Optional[Cache]:
        """The cache with all records applied, if the entry is still in it."""
        cache = self.caches.by_loop.get(ref(self.loop), EMPTY)
        if cache is EMPTY:
            # The thread that has cleared it may not have taken it out of service yet.
            self.caches.retire(self.loop)
        elif cache.invalidated:
            cache.apply()
        return cache if cache.lookup(self.entry.key) is self.entry else None

    def report(self) -> None:
        """Report a failure that no caller has received to the loop's exception handler."""
        error = self.error
        if self.received or not isinstance(error, Exception):
            return  # no failure, or one that asyncio handles: cancelled, KeyboardInterrupt
        self.received = True
        message = "Task exception was never retrieved"
        if self.cache() is not None:
            message = "A refresh failed, and the old result stays until its ttl"
        message += f": {self.caches.function.name}"
        self.loop.call_exception_handler(
            {"message": message, "exception": error, "future": self.task}
        )

    # Its callers.

    async def outcome(self, here: "Callable[[], Optional[Task[Any]]]") -> Any:
        """Wait for the outcome, as a caller in the task that ``here`` refers to."""
        waiter: "Future[None]" = Future(loop=self.loop)
        try:
            if not self.settled:
                self.waiters[waiter] = None
                _add_to_graph(self.task, here())
                # If a caller is cancelled here, it leaves; the last to leave cancels the call.
                await waiter
            if self.error is None:
                return self.value
            self.received = True
            raise BaseException.with_traceback(self.error, self.traceback)  # noqa: TRY301
        except GeneratorExit:
            # The caller's coroutine is closed or collected, perhaps in another thread, or in
            # the middle of another step: it leaves in the loop's next turn.
            self.waiters.pop(waiter, None)
            run_in(self.loop, self.leave)
            raise
        except BaseException:
            self.waiters.pop(waiter, None)
            self.leave()
            raise
        finally:
            _discard_from_graph(self.task, here())
            # Break the reference cycle: exception, traceback, frame, call.
            del self

    def leave(self, _: object = None) -> None:
        """After a caller has left, or the task is done: settle the call if its task is done.

        If no caller waits any more, report its failure, or cancel it.
        """
        if self.ready():
            self.settle()
        if self.settled and not self.waiters:
            self.report()
        elif not self.waiters and not self.settling:  # its last caller has left
            self.cancel()
            cache = self.cache()
            # The next call starts the function anew, even while this one still cleans up.
            self.entry.call = None
            if cache is not None:
                cache.remove(self.entry)
        # Break the reference cycle: a ttl function that failed, its frame, this frame, call.
        del self

    def cancel_refresh(self) -> None:
        """Cancel a refresh whose entry has been removed, unless a caller has joined it."""
        if self.background and self.cache() is None:
            self.entry.value = None
            self.cancel()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


# Weak references to all calls in flight, by the id of their coroutine: a loop may be dropped
# while calls are in flight. Such a call leaves a dead reference, until its id is used again.
_CALLS: "Dict[int, ref[Call]]" = {}


def call_of(task: "Optional[Task[Any]]") -> Optional[Call]:
    """The call that a task runs, if it runs one."""
    reference = None if task is None else _CALLS.get(id(task.get_coro()))
    return None if reference is None else reference()


def require_stack(calls: int) -> None:
    """Raise RecursionError now, rather than in the middle of the next step."""
    if calls:
        require_stack(calls - 1)


def _starts_eagerly(loop: AbstractEventLoop) -> bool:
    """Whether asyncio itself makes the loop's tasks, and can start them eagerly."""
    kind: Any = type(loop)
    return (
        _makes_tasks_of_asyncio(kind)
        and sys.version_info >= (3, 12)
        and loop.get_task_factory() is None
        and not loop.get_debug()
    )


@functools.lru_cache(maxsize=8)
def _makes_tasks_of_asyncio(kind: Any) -> bool:
    uvloop = getattr(sys.modules.get("uvloop"), "Loop", None)
    makers = [getattr(each, "create_task", None) for each in (asyncio.BaseEventLoop, uvloop)]
    return kind.create_task in makers
