"""A call in flight: the coroutine of its task, who waits for it, and for whom it waits."""

import asyncio
import collections.abc
import contextlib
import operator
from asyncio import Future, current_task
from inspect import GEN_CREATED, getgeneratorstate
from itertools import islice
from time import monotonic
from types import CoroutineType, TracebackType, coroutine
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Dict,
    Generator,
    Iterator,
    List,
    Optional,
    Tuple,
)
from weakref import ref

from ._cache import Cache
from ._entry import MISSING, Entry, InFlight, Waiters
from ._state import State

# asyncio's call graph. Below 3.14 there is none, and nothing is done.
add_to_call_graph: Any = getattr(asyncio, "future_add_to_awaited_by", operator.is_)
_discard_from_call_graph: Any = getattr(
    asyncio, "future_discard_from_awaited_by", operator.is_
)

# Of a call that has ended. It stays empty: who joins a call has found it in flight.
NOBODY: Waiters = {}


def _no_call() -> None:
    """Stand for a weak reference to a call."""


if TYPE_CHECKING:
    _AnyIslice = islice[Any]
else:
    _AnyIslice = islice


class Call(_AnyIslice, InFlight):
    """A call in flight, and the coroutine of its task.

    It passes each step to the function's own coroutine, and takes the outcome in the last:
    so that is in the cache before anything else can run. Who looks at the task finds the
    function's coroutine.

    To a task it is an iterator, a slice of all of its steps: a step runs no Python code but
    the function's.
    """

    __slots__ = (
        "__weakref__",
        "awaits",
        "cache",
        "closing",
        "coroutine",
        "entry",
        "failure",
        "state",
        "steps",
        "task",
        "waiters",
    )

    state: State
    steps: Any
    coroutine: Any
    task: "Optional[asyncio.Task[Any]]"
    awaits: "Callable[[], Optional[Call]]"
    closing: "Optional[Future[None]]"
    # Until all who wait have received it: its task, and where the function failed.
    failure: "Optional[Tuple[asyncio.Task[Any], Optional[TracebackType]]]"

    # What its task awaits.

    def send(self, value: Any) -> Any:
        """The same for a task that does not iterate: in PyPy, and below Python 3.10."""
        return self.steps.send(value)

    def throw(self, error: BaseException) -> Any:
        """A step of a task that has been cancelled, which may be its first."""
        try:
            if getgeneratorstate(self.steps) != GEN_CREATED:
                return self.steps.throw(error)
            self.close()
            self.end(None, error)
            raise error
        finally:
            del self, error  # the exception keeps this frame

    def close(self) -> None:
        """Before the first step: it is not to be taken any more."""
        self.coroutine.close()
        self.steps.close()

    def __await__(self) -> Any:
        return _coroutine(self.steps).__await__()  # a task factory has wrapped it

    def __getattr__(self, name: str) -> Any:
        return getattr(self.coroutine, name)

    # With islice's, which does the same, CPython takes no short way to any attribute.
    __getattribute__ = object.__getattribute__

    def is_running(self) -> bool:
        """Whether a step of its task is being taken."""
        loop = self.state.loop()
        return loop is not None and current_task(loop) is self.task

    def taken_by(self, task: "Optional[asyncio.Task[Any]]") -> None:
        self.task = task
        coroutine: Any = None if task is None else task.get_coro()
        if task is not None and coroutine is not self:  # a task factory has wrapped it
            _wrapped[ref(task, _forget)] = ref(self)

    def store(self, value: Any) -> None:
        """Put the result into the cache, if the entry is still there."""
        state, entry, cache = self.state, self.entry, self.cache()
        if cache is None or cache.lookup(entry.key) is not entry:
            return
        recorded = cache.cleared or cache.invalidated or not self.waiters
        if recorded and not state.holds(cache, entry):
            return
        options = state.options
        if options.ttl is None:
            cache.put(entry.key, value)
            return
        lifetime = options.lifetime(value)
        if not options.asks or state.holds(cache, entry):  # a ttl function may do anything
            cache.store(entry, value, lifetime)

    def end(self, value: Any, failure: Optional[BaseException]) -> None:
        """Take the outcome to all who wait, and keep nothing alive."""
        task, waiters, state, entry = self.task, self.waiters, self.state, self.entry
        self.task = entry.call = None
        state.running.pop(self, None)
        if failure is not None:
            self.fail(failure, task, waiters)
        else:
            self.waiters = NOBODY
            for waiter, here in list(waiters.items()):
                _discard_from_call_graph(task, here)
                try:
                    if waiter is not None:
                        waiter.set_result(value)
                except asyncio.InvalidStateError:  # its caller has been cancelled
                    pass
        if state.closings:
            wake(state)
        if state.abandoned:
            state.abandoned.pop(self, None)
        # Whoever still refers to it is to keep nothing alive.
        self.entry = MISSING
        if failure is not None:
            del task, waiters  # an exception of a key keeps this frame
            self.withdraw(entry)

    def fail(
        self,
        failure: BaseException,
        task: "Optional[asyncio.Task[Any]]",
        waiters: Waiters,
    ) -> None:
        """Take a failure to all who wait, with where the function failed.

        They are its waiters until each has received it, or has left.
        """
        # An exception may have attributes of its own making, or refuse to have any set.
        kind = type(failure)
        traceback = _traceback_of(failure)
        while traceback is not None and _is_ours(traceback):
            traceback = traceback.tb_next
        BaseException.with_traceback(failure, traceback)
        self.failure = None if task is None else (task, traceback)
        # With no line of the function in it, it is not the function's: the call is closed.
        closed = issubclass(kind, GeneratorExit) and traceback is None
        cancelled = closed or issubclass(kind, asyncio.CancelledError)
        if issubclass(kind, (KeyboardInterrupt, SystemExit)) and task is not None:
            _retrieve(task)  # it leaves the loop by itself, and is no news
        # Without their tasks: one may keep its caller's coroutine, which keeps this call.
        self.waiters = dict.fromkeys(waiters)
        for waiter in list(self.waiters):
            _discard_from_call_graph(task, waiters.get(waiter))
            if waiter is None or waiter not in waiters:  # it has left in the line before
                self.waiters.pop(waiter, None)
            elif cancelled:
                waiter.cancel()
            else:
                with contextlib.suppress(asyncio.InvalidStateError):
                    waiter.set_exception(failure)  # unless its caller has been cancelled
                waiter._log_traceback = False
        if not self.waiters:
            self.failure = None

    def withdraw(self, entry: Entry) -> None:
        """Remove the entry, unless what it has is good for a while: this was a refresh."""
        state, cache = self.state, self.cache()
        if cache is None or not state.holds(cache, entry):
            return
        now, refresh = monotonic(), state.options.refresh
        if refresh is not None and now < entry.until:
            entry.deadline = min(now + refresh, entry.until)
        else:
            cache.remove(entry)

    # How it starts and is cancelled.

    def start(self, loop: asyncio.AbstractEventLoop, by_factory: bool) -> None:
        """Have a task run it. An eager one has done so, up to where it waits."""
        state, entry = self.state, self.entry
        entry.call = self
        state.running[self] = None
        try:
            this: Any = self
            task: Any = loop.create_task(this)
        except BaseException:
            self.close()
            entry.call = None
            state.running.pop(self, None)
            self.waiters = NOBODY  # the exception keeps this frame, and a caller's task that
            raise
        # It is destroyed in flight only if its loop is closed too early. asyncio complains of
        # that for the caller's task, which is the user's.
        task._log_destroy_pending = False
        if not by_factory and task.get_coro() is self:
            self.task = task
        else:
            self.check(task)
            if state.closings:  # they have found no task yet to cancel
                wake(state)
        if state.abandoned:  # an evicted refresh
            state.retire()

    def check(self, task: "asyncio.Task[Any]") -> None:
        """See a task to its end that a factory has made, which may never run the call."""
        if not task.done():
            self.taken_by(task)
            task.add_done_callback(self.check)
            return
        _wrapped.pop(ref(task), None)
        if self.entry.call is self:  # cancelled before the first step, or out of stack
            try:
                self.close()  # which the function may refuse
            finally:
                error = None if task.cancelled() else task.exception()
                self.end(None, error or asyncio.CancelledError())

    def cancel(self) -> None:
        loop = self.state.loop()
        if self.task is not None and loop is not None and not loop.is_closed():
            self.task.cancel()
            return
        self.state.running.pop(self, None)
        if getgeneratorstate(self.steps) == GEN_CREATED:
            self.close()  # or Python would warn that it was never awaited

    # What its callers await.

    def failed(self, waiter: "Future[Any]", error: BaseException) -> BaseException:
        """What a caller is to raise: a failure of the call, or what has made it leave."""
        failure = self.failure
        self.leave(waiter)
        if failure is not None and waiter.done() and not waiter.cancelled():
            received = waiter.exception()
            # A task that is to raise GeneratorExit closes what it awaits, with one of its own.
            if received is error or issubclass(type(received), GeneratorExit):
                task, traceback = failure
                _retrieve(task)
                # Through the function's lines, and not through those of its other callers.
                return BaseException.with_traceback(error, traceback)
        if not issubclass(type(error), GeneratorExit):  # which may come from anywhere
            self.state.apply()
        return error

    def leave(self, waiter: "Future[Any]") -> None:
        """Wait no more. From anywhere: a caller may be collected."""
        here = self.waiters.pop(waiter, None)
        self.waiters.pop(waiter, None)  # they are others if another thread fails it meanwhile
        _discard_from_call_graph(self.task, here)
        caller = call_of(here)
        if caller is not None and caller.awaits() is self:
            caller.awaits = _no_call
        if self.waiters:
            return
        if self.entry.call is self:
            self.state.abandon(self)
        else:
            self.failure = None

    def chain(self) -> "Iterator[Call]":
        """This call, the one that it waits for, the one that that waits for, and so on."""
        call: Optional[Call] = self
        while call is not None and call.entry.call is call:
            yield call
            call = call.awaits()

    def refuse_circle(self, caller: "Call") -> None:
        """Raise RuntimeError if this call waits for the one that would wait for it."""
        names: List[str] = []
        for call in self.chain():
            if call is caller:
                via = f" (via {', '.join(names)})" if names else ""
                message = f"{caller.state.name} would wait for its own result{via}"
                del self, caller, call  # the exception keeps this frame
                raise RuntimeError(message)
            if call.closing is not None:
                _wake(call.closing)  # it is not to wait for what waits for it
            names.append(call.state.name)


# To asyncio, which asks the class.
_coroutines: Any = collections.abc.Coroutine
_coroutines.register(Call)


def new_call(
    state: State, cache: Cache, entry: Entry, waiters: Waiters, awaitable: Any
) -> Call:
    """A call for an entry, of what the function has returned; to be started."""
    steps: Any = _steps(entry)
    call = Call(steps, None)
    call.state = state
    call.cache = cache.reference
    call.entry = entry
    call.waiters = waiters
    # The function's. Kept when it has ended: asyncio's log shows its name.
    if type(awaitable) is not CoroutineType:
        awaitable = _coroutine(awaitable)
    call.coroutine = awaitable
    call.steps = steps
    # While it is in flight, and once it is known.
    call.task = None
    # The call that this one waits for, weakly: when that has ended, nothing is left of it.
    call.awaits = _no_call
    # Set while this one closes a cache, and waits for others to end.
    call.closing = None
    call.failure = None
    return call


@coroutine
def _steps(entry: Entry) -> Generator[Any, Any, Any]:
    """Await the function's coroutine, and see to its outcome."""
    call: Call = entry.call
    del entry
    try:
        if call.task is None:  # it is eager
            call.taken_by(current_task())
        if not call.waiters:
            call.coroutine.close()
            raise asyncio.CancelledError  # noqa: TRY301
        steps: Generator[Any, Any, Any] = call.coroutine
        value = yield from steps
        call.store(value)
    except BaseException as error:
        if not call.is_running():  # its loop is gone, and it is collected
            raise
        value, failure = None, error
    else:
        call.end(value, None)
        return value
    if issubclass(type(failure), StopIteration):  # of a key; no future takes it
        failure = RuntimeError("a key raised StopIteration")
    try:
        call.end(None, failure)
        raise failure
    finally:
        del call, failure  # the task keeps the exception, and that keeps this frame


def wake(state: State) -> None:
    """Have those who close this cache look again at whom they wait for."""
    for closing in list(state.closings):
        _wake(closing)


def _wake(closing: "Future[None]") -> None:
    with contextlib.suppress(asyncio.InvalidStateError):  # it is awake
        closing.set_result(None)


def call_of(task: "Optional[asyncio.Task[Any]]") -> Optional[Call]:
    """The call that a task runs, if it runs one."""
    if task is None:
        return None
    coroutine: Any = task.get_coro()
    if type(coroutine) is Call:
        return coroutine
    reference = _wrapped.get(ref(task)) if _wrapped else None
    return None if reference is None else reference()


# Whatever an exception makes of its attributes.
_traceback_of = vars(BaseException)["__traceback__"].__get__

# The calls that a task factory has wrapped in a coroutine of its own, by task.
_wrapped: "Dict[ref[asyncio.Task[Any]], ref[Call]]" = {}


def _forget(reference: "ref[asyncio.Task[Any]]") -> None:
    _wrapped.pop(reference, None)  # on PyPy it may be called after all


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Somebody knows of a task's failure: asyncio need not log it."""
    if not task.done():
        task.add_done_callback(_retrieve)
    else:
        _ = task.cancelled() or task.exception()


async def _coroutine(awaitable: Awaitable[Any]) -> Any:
    """Of a function that returns some other awaitable."""
    return await awaitable


def _is_ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_globals.get("__package__") == __package__
