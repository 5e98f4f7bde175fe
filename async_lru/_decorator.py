"""``alru_cache``: what may be decorated, and with which options."""

import functools
import types
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

from ._function import is_coroutine_function
from ._instances import PerInstanceWrapper
from ._keys import MakeKey, custom_key, typed_key, untyped_key
from ._options import TTL, Options, require_plain
from ._wrapper import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from ._signatures import (  # pyright: ignore[reportMissingModuleSource]  # a stub
        _CachedFunction,
        _Decorator,
        _Descriptor,
    )

    _P = ParamSpec("_P")
    _R = TypeVar("_R")


@overload
def alru_cache(
    maxsize: "Callable[_P, Coroutine[Any, Any, _R]]",
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
    refresh: Optional[float] = None,
    per_instance: bool = False,
) -> "_CachedFunction[_P, _R]": ...


@overload
def alru_cache(
    maxsize: "_Descriptor[_R]",
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
    refresh: Optional[float] = None,
    per_instance: bool = False,
) -> "_LRUCacheWrapper[_R]": ...


@overload
def alru_cache(
    maxsize: Optional[int] = 128,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
    refresh: Optional[float] = None,
    per_instance: bool = False,
) -> "_Decorator": ...


def alru_cache(
    maxsize: Any = 128,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Optional[float] = None,
    key: Optional[Callable[..., Hashable]] = None,
    refresh: Optional[float] = None,
    per_instance: bool = False,
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
    size = maxsize if maxsize is None or isinstance(maxsize, int) else 128
    options = Options(size, ttl, jitter, refresh)
    make_key = _key_maker(key, typed)
    if not isinstance(per_instance, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"per_instance must be a bool, got {per_instance!r}")
    wrapper: Any = PerInstanceWrapper if per_instance else _LRUCacheWrapper

    def decorate(function: Any) -> Any:
        return _wrap(wrapper, function, options, make_key, typed)

    if size is maxsize:
        return decorate
    return decorate(maxsize)  # no size, but the function itself


def _key_maker(key: Optional[Callable[..., Hashable]], typed: bool) -> MakeKey:
    if key is None:
        return typed_key if typed else untyped_key
    if not callable(key):
        raise TypeError(f"key must be callable, got {key!r}")
    require_plain("key", key)
    if typed:
        raise ValueError("typed does not go with key, which sees the arguments itself")
    return custom_key(key)


def _wrap(
    wrapper: Callable[..., Any],
    function: Any,
    options: Options,
    make_key: MakeKey,
    typed: bool,
) -> Any:
    binding: Optional[type] = None
    if wrapper is PerInstanceWrapper and isinstance(
        function,
        (classmethod, staticmethod, types.MethodType, _LRUCacheWrapperInstanceMethod),
    ):
        raise ValueError(f"per_instance is for methods of instances, got {function!r}")
    if isinstance(function, (classmethod, staticmethod)):
        binding = classmethod if isinstance(function, classmethod) else staticmethod
        function = cast("Any", function).__func__
    innermost = function
    while isinstance(innermost, (functools.partial, functools.partialmethod)):
        innermost = innermost.func
    if isinstance(function, functools.partialmethod):
        function = function.__get__(None, object)  # as a function of the instance
    if not callable(function):
        raise NotImplementedError(
            f"{function!r} decorating is not supported; maxsize is an int or None"
        )
    if not is_coroutine_function(innermost):
        raise RuntimeError(f"Coroutine function is required, got {function!r}")
    return wrapper(function, innermost, binding, options, make_key, typed)
