"""``alru_cache``: what may be decorated, and with which options."""

import asyncio
import functools
import inspect
import math
import sys
from numbers import Real
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Coroutine,
    Hashable,
    Optional,
    TypeVar,
    cast,
    overload,
)

from ._cache import Limits
from ._keys import MakeKey, custom_key, typed_key, untyped_key
from ._wrapper import _LRUCacheWrapper

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from ._signatures import (  # pyright: ignore[reportMissingModuleSource]  # a stub
        _CachedFunction,
        _Decorator,
        _Descriptor,
    )

    _P = ParamSpec("_P")
    _R = TypeVar("_R")

_iscoroutinefunction = (
    inspect.iscoroutinefunction if sys.version_info >= (3, 14) else asyncio.iscoroutinefunction
)


@overload
def alru_cache(
    maxsize: "Callable[_P, Coroutine[Any, Any, _R]]",
    typed: bool = False,
    *,
    ttl: Optional[float] = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
) -> "_CachedFunction[_P, _R]": ...


@overload
def alru_cache(
    maxsize: "_Descriptor[_R]",
    typed: bool = False,
    *,
    ttl: Optional[float] = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
) -> "_LRUCacheWrapper[_R]": ...


@overload
def alru_cache(
    maxsize: Optional[int] = 128,
    typed: bool = False,
    *,
    ttl: Optional[float] = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
) -> "_Decorator": ...


def alru_cache(
    maxsize: Any = 128,
    typed: bool = False,
    *,
    ttl: Optional[float] = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
) -> Any:
    """Cache the results of a coroutine function, as ``functools.lru_cache`` does.

    Used as ``@alru_cache``, ``@alru_cache()`` or with options. What may be decorated is a
    coroutine function, a ``functools.partial`` or ``partialmethod`` or a bound method of one,
    or a ``classmethod`` or ``staticmethod`` of one.

    :param maxsize: how many results to keep before the least recently used one goes; None for
        all, 0 for none at all. (An int; below zero it counts as 0.)
    :param typed: whether equal arguments of different types are kept apart.
    :param ttl: seconds to keep a result, from when it is there (a real number >= 0); None for
        ever.
    :param jitter: with ttl, up to so many seconds more (a real number >= 0), drawn for each
        result by ``random.uniform``.
    :param key: gets the arguments of a call, and returns what to look them up by: anything
        hashable. By default the arguments themselves, in the manner of ``functools``.
    :raises RuntimeError: the function is not a coroutine function.
    :raises NotImplementedError: what is decorated cannot even be called.
    :raises TypeError, ValueError: an option makes no sense.

    >>> @alru_cache(maxsize=32, ttl=60)
    ... async def double(x):
    ...     return 2 * x
    >>> asyncio.run(double(4))
    8

    A call raises what the function raises; TypeError if the arguments are not hashable;
    RuntimeError if it would wait for itself, or if the cache has been closed.
    """
    make_key = _key_maker(key, typed)
    seconds = _seconds("ttl", ttl)
    spread = _seconds("jitter", jitter)
    if spread is not None and seconds is None:
        raise ValueError("jitter requires ttl to be set")
    if spread == math.inf:
        raise ValueError("jitter must be finite")

    def decorate(function: Any, entries: Optional[int] = maxsize) -> Any:
        limits = Limits(None if entries is None else max(entries, 0), seconds, spread or 0)
        return _wrap(function, limits, make_key, typed)

    if maxsize is None or isinstance(maxsize, int):
        return decorate
    return decorate(maxsize, 128)  # not a size, but the function itself


def _key_maker(key: Optional[Callable[..., Hashable]], typed: bool) -> MakeKey:
    if key is None:
        return typed_key if typed else untyped_key
    if not callable(key):
        raise TypeError(f"key must be callable, got {key!r}")
    if typed:
        raise ValueError("typed does not go with key, which sees the arguments itself")
    return custom_key(key)


def _seconds(name: str, value: object) -> Optional[float]:
    if value is None:
        return None
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    seconds = float(value)
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{name} must be non-negative, got {value!r}")
    return seconds


def _wrap(
    function: Any, limits: Limits, make_key: MakeKey, typed: bool
) -> "_LRUCacheWrapper[Any]":
    binding: Optional[type] = None
    if isinstance(function, (classmethod, staticmethod)):
        binding = classmethod if isinstance(function, classmethod) else staticmethod
        function = cast("Any", function).__func__
    innermost = function
    while isinstance(innermost, (functools.partial, functools.partialmethod)):
        innermost = innermost.func
    if isinstance(function, functools.partialmethod):
        function = function.__get__(None, object)  # as a function of the instance
    if not callable(function):
        raise NotImplementedError(f"{function!r} decorating is not supported")
    if not _iscoroutinefunction(innermost):
        raise RuntimeError(f"Coroutine function is required, got {function!r}")
    return _LRUCacheWrapper(function, innermost, binding, limits, make_key, typed)
