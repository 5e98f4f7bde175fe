"""What a decorated function is: the callable that users hold, and its bound form."""

import copy
import functools
import types
import warnings
from asyncio import get_running_loop
from time import monotonic
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Coroutine,
    Dict,
    Generic,
    List,
    Optional,
    Tuple,
    TypeVar,
    cast,
    overload,
)

from ._cache import EMPTY, MISSING, Entry
from ._call import answer, close
from ._function import Annotations, CoroutineFunction, Text, coroutine_function
from ._keys import MakeKey, typed_key, untyped_key
from ._loops import Function, Loops, _CacheParameters, info, parameters
from ._sending import carrier, deep_copy, reduce, set_state

_R = TypeVar("_R", covariant=True)
_T = TypeVar("_T")
_Self = TypeVar("_Self")


# Without the annotations: since 3.14 reading them may evaluate them.
_COPIED = [
    name for name in map(str, functools.WRAPPER_ASSIGNMENTS) if name != "__annotations__"
]


# Each decorated function has a coroutine function of its own here. (By name, as a type checker
# takes what is in __slots__ for an attribute that is not bound.)
_OF_EACH = ("__call__",)


class _LRUCacheWrapper(CoroutineFunction, Generic[_R]):
    """A coroutine function with a cache, as made by :func:`alru_cache`."""

    # With two underscores: any other name is the user's, and the function's own.
    __slots__ = (
        "__binding__",
        "__carriers__",
        "__decorated__",
        "__dict__",
        "__loops__",
        "__make_key__",
        "__weakref__",
        *_OF_EACH,
    )
    __annotations__ = Annotations()  # type: Dict[str, Any]  # an annotation would go in it

    def __init__(
        self,
        function: Callable[..., Any],
        named: Callable[..., Any],
        binding: Optional[type],
        options: Any,
        make_key: Callable[..., Any],
        typed: bool,
    ) -> None:
        functools.update_wrapper(self, named, _COPIED)
        self.__wrapped__ = function
        # classmethod or staticmethod, if this is to bind like one.
        self.__binding__: Optional[type] = binding
        # To a type checker the rest is nobody's business.
        name = options.name or getattr(named, "__qualname__", repr(named))
        keyed = make_key not in (untyped_key, typed_key)
        named_options = options.of(name, keyed=keyed)
        self.__decorated__: Any = Function(function, name, named_options, typed)
        self.__make_key__: Any = make_key
        # By name, the functions that stand for this one when it is pickled.
        self.__carriers__: Dict[str, Any] = {}
        call = self.__prepare__()
        # A coroutine is named after its coroutine function.
        call.__name__, call.__qualname__ = getattr(named, "__name__", name), name
        cast("Any", self).__call__ = call

    def __prepare__(self) -> Any:
        """What a call runs. It is set up here once for all subclasses' caches."""
        self.__loops__: Any = Loops(self.__decorated__)
        return _calling(self.__loops__, self.__make_key__)

    if TYPE_CHECKING:

        async def __call__(self, /, *args: Any, **kwargs: Any) -> _R: ...

    def cache_info(self) -> functools._CacheInfo:
        """Hits, misses, ``maxsize`` and current size, over all event loops.

        >>> alru_cache(asyncio.sleep).cache_info()
        CacheInfo(hits=0, misses=0, maxsize=128, currsize=0)
        """
        return info(self.__decorated__, self.__decorated__.every())

    def cache_parameters(self) -> _CacheParameters:
        """``typed``, ``maxsize``, ``tasks`` and ``closed``.

        ``tasks`` is the number of calls in flight, those no longer in the cache included.
        ``closed`` is about the running loop; without one, whether all caches are closed.

        >>> alru_cache(asyncio.sleep).cache_parameters()
        {'typed': False, 'maxsize': 128, 'tasks': 0, 'closed': False}
        """
        return parameters(self.__decorated__, self.__decorated__.every())

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether there is a result for these arguments, or a call in flight.

        Neither a hit nor a miss. Raises TypeError if the arguments are not hashable.

        >>> alru_cache(asyncio.sleep).cache_contains(1)
        False
        """
        key = self.__make_key__(args, kwargs)
        self.__decorated__.require_hashable(key)
        loops: Loops = self.__loops__
        return loops.contains(key)

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the entry for these arguments; True if there was one.

        A call in flight goes on for its callers, and its result is not kept. Raises TypeError
        if the arguments are not hashable.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> asyncio.run(sleep(0))
        >>> sleep.cache_invalidate(0), sleep.cache_invalidate(0)
        (True, False)
        """
        key = self.__make_key__(args, kwargs)
        self.__decorated__.require_hashable(key)
        loops: Loops = self.__loops__
        return loops.invalidate(key)

    def cache_clear(self) -> None:
        """Remove all entries and zero the counters. Calls in flight go on for their callers.

        >>> sleep = alru_cache(asyncio.sleep)
        >>> asyncio.run(sleep(0))
        >>> sleep.cache_clear()
        >>> sleep.cache_info()
        CacheInfo(hits=0, misses=0, maxsize=128, currsize=0)
        """
        for loops in self.__decorated__.every():
            loops.clear()

    async def cache_close(self, *, wait: bool = False) -> None:
        """Close the running loop's cache, for good: calls in it raise RuntimeError.

        Calls in flight are cancelled, or with ``wait=True`` left to finish. This returns when
        all of them have ended, except those that wait for the one that closes. Other loops,
        running or to come, are not concerned.

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
        await close([self.__loops__], wait)

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
        if self.__binding__ is classmethod:
            first = instance.__class__ if owner is None else owner
        if first is None or self.__binding__ is staticmethod:
            return self
        return _LRUCacheWrapperInstanceMethod(self, first)

    # Test fixtures written for async_lru 2.4 read this private name, of Class.method and of
    # instance.method, and set _LRUCacheWrapper__first_loop on what they find.
    @property
    def _LRUCacheWrapperInstanceMethod__wrapper(self: _Self) -> _Self:  # noqa: N802
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reduce(self, protocol)

    def __setstate__(self, state: Any) -> None:
        set_state(self, state)

    # pickle looks these two up by name, see carrier().
    @property
    def __sent__(self) -> Any:
        return carrier(self, "__sent__")

    @property
    def __sent_state__(self) -> Any:
        return carrier(self, "__sent_state__")

    def __copy__(self: _Self) -> _Self:
        return self

    def __deepcopy__(self: _Self, memo: Dict[int, Any]) -> _Self:
        copied: _Self = deep_copy(self, memo)
        return copied

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__decorated__.name}, {self.cache_info()}>"


def _calling(loops: Loops, make_key: MakeKey) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The coroutine function of a decorated function: all of a hit.

    It does not refer to the wrapper, so that no cycle keeps a function that is dropped.
    """
    serving, function = loops.serving, loops.function
    plain = make_key is untyped_key

    async def call(*args: Any, **kwargs: Any) -> Any:
        key = args if plain and not kwargs else make_key(args, kwargs)
        cache = serving.get(get_running_loop(), EMPTY)
        try:
            found: Any = cache.lookup(key, MISSING)
        except TypeError as error:
            function.explain(error, key)
            raise
        if type(found) is not Entry:
            value = found
        elif monotonic() < found.fresh_until:
            value = found.value
        else:
            waiting = answer(loops, cache, found, key, args, kwargs)
            del cache, found  # while it waits, a caller keeps nothing that is cleared
            return await waiting
        if cache.bounded:
            cache.touch(key)
        cache.hits += 1
        return value

    return call


class _LRUCacheWrapperInstanceMethod(CoroutineFunction, Generic[_R, _T]):
    __slots__ = ("__func__", "__self__", "__weakref__")
    __module__ = Text(__name__)
    __doc__ = Text("A decorated function, bound to an instance as its first argument.")
    __annotations__ = Annotations()  # type: Dict[str, Any]

    def __init__(self, function: _LRUCacheWrapper[_R], instance: _T) -> None:
        self.__func__: _LRUCacheWrapper[_R] = function
        self.__self__: _T = instance

    @coroutine_function
    def __call__(self, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, _R]:
        # What calling __func__ comes to, in one step less.
        function: Any = self.__func__
        if not kwargs:  # as most calls have none: a dict less to be made
            return function.__call__(self.__self__, *args)  # type: ignore[no-any-return]
        return function.__call__(self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    def __every__(self) -> List[Any]:
        """The caches that this is about."""
        decorated: Function = self.__func__.__decorated__
        return decorated.every()

    def cache_info(self) -> functools._CacheInfo:
        """As the function's: over all instances, unless each has a cache of its own."""
        return info(self.__func__.__decorated__, self.__every__())

    def cache_parameters(self) -> _CacheParameters:
        """As the function's."""
        return parameters(self.__func__.__decorated__, self.__every__())

    def cache_contains(self, /, *args: Any, **kwargs: Any) -> bool:
        """As the function's, for this instance."""
        return self.__func__.cache_contains(self.__self__, *args, **kwargs)

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """As the function's, for this instance."""
        return self.__func__.cache_invalidate(self.__self__, *args, **kwargs)

    def cache_clear(self) -> None:
        """As the function's: of all instances, unless each has a cache of its own."""
        for loops in self.__every__():
            loops.clear()

    async def cache_close(
        self,
        *,
        wait: bool = False,
        cancel: Optional[bool] = None,
        return_exceptions: Optional[bool] = None,
    ) -> None:
        """As the function's: for all instances, unless each has a cache of its own.

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
        await self.__close__(wait)

    async def __close__(self, wait: bool) -> None:
        await self.__func__.cache_close(wait=wait)

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
            raise AttributeError(f"{self!r} has no attribute {name!r}") from None

    def __get__(self: _Self, instance: object, owner: Optional[type] = None) -> _Self:
        return self  # bound once, as any bound method

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _LRUCacheWrapperInstanceMethod):
            return NotImplemented
        same = self.__func__ is other.__func__  # pyright: ignore[reportUnknownMemberType]
        return same and self.__self__ is other.__self__  # pyright: ignore[reportUnknownMemberType]

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce__(self) -> Tuple[Any, ...]:
        return getattr, (self.__self__, self.__func__.__dict__["__name__"])

    def __deepcopy__(self, memo: Dict[int, Any]) -> "_LRUCacheWrapperInstanceMethod[_R, _T]":
        return type(self)(self.__func__, copy.deepcopy(self.__self__, memo))

    def __repr__(self) -> str:
        name = getattr(self.__func__, "__qualname__", repr(self.__func__))
        return f"<{type(self).__name__} {name} of {self.__self__!r}>"
