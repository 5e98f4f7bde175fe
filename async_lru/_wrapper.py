"""A decorated function: the callable that users hold, and its bound form."""

import asyncio
import copy
import functools
import inspect
import types
import warnings
from typing import TYPE_CHECKING, Any, Dict, Generic, Optional, Tuple, TypeVar, cast

from ._answer import close
from ._cache import nothing
from ._caches import _CacheParameters
from ._options import Options
from ._regimes import PerInstance, Shared
from ._sending import SENT, SENT_STATE, carrier, deep_copy, receive, reduce

_R = TypeVar("_R", covariant=True)
_T = TypeVar("_T", covariant=True)
_Self = TypeVar("_Self")

# All but the annotations, because since 3.14 reading them may evaluate them.
_COPIED = [name for name in functools.WRAPPER_ASSIGNMENTS if name != "__annotations__"]
# Each decorated function and each bound one has its own coroutine function in this slot. (In a
# tuple of its own, because type checkers would take it for an instance attribute.)
_OF_EACH = ("__call__",)


class CoroutineFunction:
    """Instances are coroutine functions to asyncio (below 3.14) and to inspect (from 3.12)."""

    __slots__ = ()
    _is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)
    if TYPE_CHECKING:  # each instance has those of its function
        __name__: str
        __qualname__: str


getattr(inspect, "markcoroutinefunction", nothing)(CoroutineFunction)  # from 3.12 on


class Annotations(Dict[str, Any]):
    """An instance has the annotations of its function; the class has none."""

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else instance.__wrapped__.__annotations__


class Text(str):  # noqa: SLOT000  # it is given its name
    """An instance has the ``__doc__`` or ``__module__`` of its function; the class its own."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance.__func__, self.name)

    def __reduce__(self) -> Tuple[Any, ...]:
        return str, (str(self),)  # the pickle of a class needs a plain str as its module


class _LRUCacheWrapper(CoroutineFunction, Generic[_R]):
    """A coroutine function with a cache, as made by :func:`alru_cache`."""

    # Private by name mangling, because any other name may be an attribute of the function.
    __slots__ = ("__binding", "__carriers", "__dict__", "__function", "__weakref__", *_OF_EACH)
    # A type comment, because an annotation would be stored in it.
    __annotations__ = Annotations()  # type: Dict[str, Any]

    def __init__(
        self, function: Any, named: Any, options: Options, binding: Optional[type]
    ) -> None:
        functools.update_wrapper(self, named, _COPIED)
        self.__wrapped__ = function
        # classmethod or staticmethod, if this binds like one.
        self.__binding = binding
        # The functions that stand for this one when it is pickled, by name.
        self.__carriers: Dict[str, Any] = {}
        qualname = getattr(named, "__qualname__", None)
        if not isinstance(qualname, str):  # a mock has a mock, or none
            qualname = repr(named)
        name = str(getattr(named, "__name__", qualname))
        kind = PerInstance if options.per_instance else Shared
        self.__function: "Shared | PerInstance" = kind(function, qualname, options)
        call = self.__function.coroutine_function()
        # A coroutine is named after its coroutine function.
        call.__name__, call.__qualname__ = name, qualname
        cast("Any", self).__call__ = call

    if TYPE_CHECKING:

        async def __call__(self, /, *args: Any, **kwargs: Any) -> _R: ...

    else:
        # Hidden from type checkers, so that an attribute annotated with this class can be
        # assigned. The types of decorated functions in _decorator.pyi have a __get__.
        def __get__(self, instance: object, owner: Optional[type] = None) -> Any:
            first = instance
            if self.__binding is classmethod:
                first = instance.__class__ if owner is None else owner
            if first is None or self.__binding is staticmethod:
                return self
            return _LRUCacheWrapperInstanceMethod(self, first)

    def cache_info(self) -> functools._CacheInfo:
        """Hits, misses, ``maxsize`` and current size, over all event loops.

        >>> alru_cache(asyncio.sleep).cache_info()
        CacheInfo(hits=0, misses=0, maxsize=128, currsize=0)
        """
        return self.__function.info(self.__function.every())

    def cache_parameters(self) -> _CacheParameters:
        """``typed``, ``maxsize``, ``tasks`` and ``closed``.

        ``tasks`` is the number of calls in flight, including those no longer in the cache.
        ``closed`` is whether the running loop's cache is closed; without a running loop,
        whether all caches are.

        >>> alru_cache(asyncio.sleep).cache_parameters()
        {'typed': False, 'maxsize': 128, 'tasks': 0, 'closed': False}
        """
        return self.__function.parameters(self.__function.every())

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether a result for these arguments is cached, or a call in flight.

        Neither a hit nor a miss. Raises TypeError if the arguments are not hashable.

        >>> alru_cache(asyncio.sleep).cache_contains(1)
        False
        """
        key, every = self.__function.find(args, kwargs)
        return any(key in cache for caches in every for cache in caches.existing())

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the entry for these arguments; True if there was one.

        A call in flight goes on for its callers, and its result is not kept. Raises TypeError
        if the arguments are not hashable.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> asyncio.run(sleep(0))
        >>> sleep.cache_invalidate(0), sleep.cache_invalidate(0)
        (True, False)
        """
        key, every = self.__function.find(args, kwargs)
        return any(caches.invalidate(key) for caches in every)  # at most one

    def cache_clear(self) -> None:
        """Remove all entries and zero the counters. Calls in flight go on for their callers.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> asyncio.run(sleep(0))
        >>> sleep.cache_clear()
        >>> sleep.cache_info()
        CacheInfo(hits=0, misses=0, maxsize=128, currsize=0)
        """
        for caches in self.__function.every():
            caches.clear()

    async def cache_close(self, *, wait: bool = False) -> None:
        """Close the running loop's cache, for good: calls in it raise RuntimeError.

        Calls in flight are cancelled, or with ``wait=True`` left to finish. This returns when
        all of them have ended, except those that wait for the call that closes. Other loops
        are unaffected.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> async def main():
        ...     await sleep.cache_close()
        ...     await sleep(0)
        >>> asyncio.run(main())
        Traceback (most recent call last):
        RuntimeError: alru_cache is closed for sleep in this event loop. ...
        >>> asyncio.run(sleep(0, "open"))  # in another loop
        'open'
        """
        await close(self.__function.closing(), wait)

    # Test fixtures written for async_lru 2.4 read this private name, of Class.method and of
    # instance.method, and set _LRUCacheWrapper__first_loop on what they find.
    @property
    def _LRUCacheWrapperInstanceMethod__wrapper(self: _Self) -> _Self:  # noqa: N802
        return self

    # Pickling: see _sending.

    def __recipe(self) -> Tuple[Any, ...]:
        return self.__wrapped__, self.__function.options, self.__binding

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reduce(self, self.__recipe(), self.__carriers, protocol)

    def __setstate__(self, state: Any) -> None:
        receive(self, state)

    @property
    def __sent(self) -> Any:
        return carrier(self, self.__carriers, SENT)

    @property
    def __sent_state(self) -> Any:
        return carrier(self, self.__carriers, SENT_STATE)

    def __copy__(self: _Self) -> _Self:
        return self

    def __deepcopy__(self, memo: Dict[int, Any]) -> "_LRUCacheWrapper[_R]":
        return cast("_LRUCacheWrapper[_R]", deep_copy(self, self.__recipe(), memo))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__function.name}, {self.cache_info()}>"


class _LRUCacheWrapperInstanceMethod(CoroutineFunction, Generic[_R, _T]):
    __slots__ = ("__func__", "__self__", "__weakref__", *_OF_EACH)
    __module__ = Text(__name__)
    __doc__ = Text("A decorated function, bound to an instance as its first argument.")
    __annotations__ = Annotations()  # type: Dict[str, Any]

    def __init__(self, function: _LRUCacheWrapper[_R], instance: _T) -> None:
        self.__func__: _LRUCacheWrapper[_R] = function
        self.__self__: _T = instance
        cast("Any", self).__call__ = types.MethodType(function.__call__, instance)

    if TYPE_CHECKING:

        async def __call__(self, /, *args: Any, **kwargs: Any) -> _R: ...

    @property
    def __function(self) -> "Shared | PerInstance":
        function: Shared | PerInstance = cast("Any", self.__func__)._LRUCacheWrapper__function
        return function

    def cache_info(self) -> functools._CacheInfo:
        """Like that of the function: over all instances, unless each has its own cache."""
        return self.__function.info(self.__function.every_of(self.__self__))

    def cache_parameters(self) -> _CacheParameters:
        """Like that of the function."""
        return self.__function.parameters(self.__function.every_of(self.__self__))

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Like that of the function, for this instance."""
        return self.__func__.cache_contains(self.__self__, *args, **kwargs)

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Like that of the function, for this instance."""
        return self.__func__.cache_invalidate(self.__self__, *args, **kwargs)

    def cache_clear(self) -> None:
        """Like that of the function: of all instances, unless each has its own cache."""
        for caches in self.__function.every_of(self.__self__):
            caches.clear()

    async def cache_close(
        self,
        *,
        wait: bool = False,
        cancel: Optional[bool] = None,
        return_exceptions: Optional[bool] = None,
    ) -> None:
        """Like that of the function: for all instances, unless each has its own cache.

        ``cancel`` and ``return_exceptions`` are deprecated and have no effect.
        """
        for name, value, default in (
            ("cancel", cancel, False),
            ("return_exceptions", return_exceptions, True),
        ):
            if value is not None and value != default:
                warnings.warn(
                    f"{name} is deprecated and has no effect; use wait",
                    DeprecationWarning,
                    stacklevel=2,
                )
        await close(self.__function.closing_of(self.__self__), wait)

    @property
    def __wrapped__(self) -> types.MethodType:
        """The method without the cache, which has the signature to show."""
        return types.MethodType(self.__func__.__wrapped__, self.__self__)

    # Name mangling makes it the name that fixtures read, see above.
    @property
    def __wrapper(self) -> _LRUCacheWrapper[_R]:
        return self.__func__

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__func__.__dict__[name]
        except KeyError:
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}") from None

    def __get__(self: _Self, instance: object, owner: Optional[type] = None) -> _Self:
        return self  # bound once, as any bound method

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _LRUCacheWrapperInstanceMethod):
            return NotImplemented
        return self.__call__ == other.__call__  # of the same function and the same instance

    def __hash__(self) -> int:
        return hash(self.__call__)

    def __reduce__(self) -> Tuple[Any, ...]:
        # By name in its instance, as any bound method, if the name leads to it.
        name = self.__func__.__dict__["__name__"]
        if getattr(self.__self__, name, None) == self:
            return getattr, (self.__self__, name)
        return type(self), (self.__func__, self.__self__)

    def __deepcopy__(self, memo: Dict[int, Any]) -> "_LRUCacheWrapperInstanceMethod[_R, _T]":
        return type(self)(self.__func__, copy.deepcopy(self.__self__, memo))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__function.name} of {self.__self__!r}>"
