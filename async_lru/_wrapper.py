"""What a decorated function is: the callable that users hold, and its bound form."""

import asyncio
import functools
import types
import warnings
from asyncio import Future, current_task, get_running_loop
from time import monotonic
from typing import (
    Any,
    Callable,
    Coroutine,
    Dict,
    Generic,
    Optional,
    Tuple,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

from ._cache import ABSENT, NOWHERE, Limits
from ._entry import Entry
from ._function import Annotations, CoroutineFunction, Text
from ._keys import KEYWORDS, MakeKey, untyped_key
from ._loops import Loops

_R = TypeVar("_R", covariant=True)
_T = TypeVar("_T")
_Self = TypeVar("_Self")


class _CacheParameters(TypedDict):
    """What ``cache_parameters()`` returns."""

    typed: bool
    maxsize: Optional[int]
    tasks: int
    closed: bool


# Without the annotations: since 3.14 reading them may evaluate them.
_COPIED = [name for name in functools.WRAPPER_ASSIGNMENTS if name != "__annotations__"]


class _LRUCacheWrapper(CoroutineFunction, Generic[_R]):
    """A coroutine function with a cache, as made by :func:`alru_cache`."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_binding",
        "_bounded",
        "_cache",
        "_function",
        "_loops",
        "_make_key",
        "_plain",
        "_typed",
    )
    __annotations__ = Annotations()  # type: Dict[str, Any]  # an annotation would go in it

    def __init__(
        self,
        function: Callable[..., Any],
        named: Callable[..., Any],
        binding: Optional[type],
        limits: Limits,
        make_key: MakeKey,
        typed: bool,
    ) -> None:
        functools.update_wrapper(self, named, _COPIED)
        self.__wrapped__ = function
        self._function = function
        # classmethod or staticmethod, if this is to bind like one.
        self._binding = binding
        self._bounded = limits.maxsize is not None
        self._make_key = make_key
        self._plain = make_key is untyped_key
        self._typed = typed
        self._loops = Loops(getattr(named, "__qualname__", repr(named)), limits)
        # The cache used last, which in most programs is the only one.
        self._cache = NOWHERE

    # In one piece, and with no more names than needed: a hit is what users pay for.
    async def __call__(  # noqa: C901, PLR0912
        self, /, *args: Any, **kwargs: Any
    ) -> _R:
        if not self._plain:
            key = self._make_key(args, kwargs)
        elif kwargs:  # as untyped_key does
            key = (*args, KEYWORDS, *kwargs, *kwargs.values())
        else:
            key = args
        cache = self._cache
        if cache.serves is not get_running_loop():
            hash(key)  # a key that cannot be looked up binds to no loop
            cache = self._cache = self._loops.current()
        found: Any = cache.lookup(key, ABSENT)
        if type(found) is not Entry:
            cache.hits += 1
            if self._bounded:
                cache.touch(key)
            return found  # type: ignore[no-any-return]  # the bare value
        if monotonic() < found.deadline:
            cache.hits += 1
            if self._bounded:
                cache.touch(key)
            return found.value  # type: ignore[no-any-return]
        if found.waiters is not None:
            if found.task is current_task():
                raise RuntimeError(f"{self._loops.name} awaits its own result")
            cache.hits += 1
            if self._bounded:
                cache.touch(key)
            entry = found
        else:
            if found is not ABSENT:
                cache.forget(found)  # expired, with its timer late
            entry = cache.start(key, self._function(*args, **kwargs))
        del found
        task = entry.task
        assert task is not None
        waiter: "Future[None]" = Future()
        if entry.waiters is None:  # an eager task may be done already
            entry.task = None
            waiter.set_result(None)
        else:
            entry.waiters[waiter] = None
        try:
            await waiter
            if not task.done():  # a task factory has wrapped the coroutine
                await asyncio.wait({task})
            return task.result()  # type: ignore[no-any-return]  # or raises what it raised
        except BaseException:
            entry.leave(waiter)
            raise
        finally:
            del entry, task  # an exception keeps this frame, and the task its exception

    def cache_info(self) -> functools._CacheInfo:
        """Hits, misses, ``maxsize`` and current size, over all event loops.

        >>> alru_cache(asyncio.sleep).cache_info()
        CacheInfo(hits=0, misses=0, maxsize=128, currsize=0)
        """
        return self._loops.info()

    def cache_parameters(self) -> _CacheParameters:
        """``typed``, ``maxsize``, the works running now, and whether it is closed.

        >>> alru_cache(asyncio.sleep).cache_parameters()
        {'typed': False, 'maxsize': 128, 'tasks': 0, 'closed': False}
        """
        return {
            "typed": self._typed,
            "maxsize": self._loops.limits.maxsize,
            "tasks": self._loops.works(),
            "closed": self._loops.closed,
        }

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether there is an entry for a call with these arguments. Counts as no use.

        Raises TypeError if they are not hashable.

        >>> alru_cache(asyncio.sleep).cache_contains(1)
        False
        """
        return self._loops.contain(self._make_key(args, kwargs))

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Drop the entry for a call with these arguments; True if there was one.

        Work in flight goes on for its callers. Raises TypeError if the arguments are not
        hashable.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> asyncio.run(sleep(0))
        >>> sleep.cache_invalidate(0), sleep.cache_invalidate(0)
        (True, False)
        """
        return self._loops.drop(self._make_key(args, kwargs))

    def cache_clear(self) -> None:
        """Drop all entries, and zero the counters; work in flight goes on for its callers.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> asyncio.run(sleep(0))
        >>> sleep.cache_clear()
        >>> sleep.cache_info()
        CacheInfo(hits=0, misses=0, maxsize=128, currsize=0)
        """
        self._loops.clear()

    async def cache_close(self, *, wait: bool = False) -> None:
        """Refuse calls from now on, and see the works in flight to their end.

        They are cancelled, or with ``wait=True`` left to finish. This returns when those of
        the running loop have ended; other loops are told, and not waited for.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> asyncio.run(sleep.cache_close())
        >>> asyncio.run(sleep(0))
        Traceback (most recent call last):
        RuntimeError: alru_cache is closed for sleep
        """
        tasks = self._loops.close(cancel=not wait)
        if tasks:
            await asyncio.wait(tasks)

    @overload
    def __get__(
        self, instance: None, owner: Optional[type] = None
    ) -> "_LRUCacheWrapper[_R]": ...

    @overload
    def __get__(
        self, instance: object, owner: Optional[type] = None
    ) -> "_LRUCacheWrapperInstanceMethod[_R, Any]": ...

    def __get__(self, instance: object, owner: Optional[type] = None) -> Any:
        first = instance
        if self._binding is classmethod:
            first = owner or instance.__class__
        if first is None or self._binding is staticmethod:
            return self
        return _LRUCacheWrapperInstanceMethod(self, first)

    def __reduce__(self) -> str:
        qualname: str = self.__dict__["__qualname__"]
        return qualname  # by reference, as a function

    def __copy__(self: _Self) -> _Self:
        return self

    def __deepcopy__(self: _Self, memo: Dict[int, Any]) -> _Self:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._loops.name}, {self.cache_info()}>"


_call: Callable[..., Coroutine[Any, Any, Any]] = cast("Any", _LRUCacheWrapper).__call__


class _LRUCacheWrapperInstanceMethod(CoroutineFunction, Generic[_R, _T]):
    __slots__ = ("__func__", "__self__")
    __module__ = Text(__name__)
    __doc__ = Text("A decorated function, bound to an instance as its first argument.")

    def __init__(self, function: _LRUCacheWrapper[_R], instance: _T) -> None:
        self.__func__: _LRUCacheWrapper[_R] = function
        self.__self__: _T = instance

    def __call__(self, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, _R]:
        # What calling __func__ comes to, in one step less.
        return _call(self.__func__, self.__self__, *args, **kwargs)

    def cache_info(self) -> functools._CacheInfo:
        """As the function's, which is for all instances."""
        return self.__func__.cache_info()

    def cache_parameters(self) -> _CacheParameters:
        """As the function's."""
        return self.__func__.cache_parameters()

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether there is an entry for a call of this method with these arguments."""
        return self.__func__.cache_contains(self.__self__, *args, **kwargs)

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Drop the entry for a call of this method with these arguments."""
        return self.__func__.cache_invalidate(self.__self__, *args, **kwargs)

    def cache_clear(self) -> None:
        """As the function's: drops the entries of all instances."""
        self.__func__.cache_clear()

    async def cache_close(
        self,
        *,
        wait: bool = False,
        cancel: Optional[bool] = None,
        return_exceptions: Optional[bool] = None,
    ) -> None:
        """As the function's: closes it for all instances.

        ``cancel`` and ``return_exceptions`` are deprecated, and have no effect.
        """
        for name, value in ("cancel", cancel), ("return_exceptions", return_exceptions):
            if value is not None:
                warnings.warn(
                    f"{name} is deprecated and has no effect; use wait",
                    DeprecationWarning,
                    stacklevel=2,
                )
        await self.__func__.cache_close(wait=wait)

    @property
    def __wrapped__(self) -> types.MethodType:
        """The method without the cache, which has the signature to show."""
        return types.MethodType(self.__func__.__wrapped__, self.__self__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _LRUCacheWrapperInstanceMethod):
            return NotImplemented
        same = self.__func__ is other.__func__  # pyright: ignore[reportUnknownMemberType]
        return same and self.__self__ is other.__self__  # pyright: ignore[reportUnknownMemberType]

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce__(self) -> Tuple[Any, ...]:
        return getattr, (self.__self__, self.__func__.__dict__["__name__"])  # as a method

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__func__._loops.name} of {self.__self__!r}>"
