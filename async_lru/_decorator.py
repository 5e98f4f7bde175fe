"""``alru_cache``: its forms, and the kinds of functions that it decorates."""

import types
from functools import partial, partialmethod
from typing import Any, Callable, Hashable, Optional, cast

from ._options import TTL, Options, Seconds, is_coroutine_function, unwrap_partial
from ._wrapper import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod


def alru_cache(
    maxsize: Any = 128,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Optional[Seconds] = None,
    key: Optional[Callable[..., Hashable]] = None,
    refresh: Optional[Seconds] = None,
    per_instance: bool = False,
) -> Any:
    """Cache the results of a coroutine function, as ``functools.lru_cache`` does.

    Used as ``@alru_cache``, ``@alru_cache()`` or with options. It decorates a coroutine
    function, or a ``partial``, ``partialmethod``, bound method, ``classmethod`` or
    ``staticmethod`` of one.

    :param maxsize: how many results are kept in each event loop before the least recently used
        one is evicted (an int; None for no limit). Negative values count as 0.
    :param typed: whether equal arguments of different types, such as 1 and 1.0, are cached
        separately.
    :param ttl: for how many seconds a result is kept, from the moment the call returns (a real
        number >= 0 or a ``datetime.timedelta``; None for no limit), or a function that gets
        the result and returns this time: None for no limit, zero or less for not at all.
    :param jitter: up to how many seconds are added to ttl and refresh (a number or timedelta,
        as for ttl; requires ttl), drawn for each result by ``random.uniform``.
    :param key: a function that gets the arguments of a call, the instance or class first, and
        returns a hashable key. By default the arguments are the key.
    :param refresh: the age in seconds from which a hit also starts the function in the
        background, to replace the result (a number or timedelta as for ttl; requires ttl, and
        must be less than it).
    :param per_instance: whether each instance has its own cache, which is freed together with
        it. Only for methods of instances that have a ``__dict__`` and can be weakly
        referenced.
    :raises RuntimeError: the decorated object is not a coroutine function.
    :raises NotImplementedError: it is not callable, or maxsize is not an int.
    :raises TypeError: another option has a wrong type, or key or ttl is a coroutine function.
    :raises ValueError: an option makes no sense by itself or with the others.

    >>> @alru_cache(maxsize=32, ttl=60)
    ... async def double(x):
    ...     return 2 * x
    >>> asyncio.run(double(4))
    8

    A call raises what the function raises; TypeError if the arguments are not hashable;
    RuntimeError if it would wait for its own result, or if the cache is closed in this loop.
    """
    # Any other value is the function itself.
    size = maxsize if maxsize is None or isinstance(maxsize, int) else 128
    options = Options(size, typed, ttl, jitter, key, refresh, per_instance)
    if size is maxsize:
        return partial(_decorate, options=options)
    return _decorate(maxsize, options)


def _decorate(function: Any, options: Options) -> Any:
    if options.per_instance and isinstance(
        function, (classmethod, staticmethod, types.MethodType, _LRUCacheWrapperInstanceMethod)
    ):
        raise ValueError(
            f"per_instance=True stores the cache in the instance, and {function!r} gets none."
            " Decorate a method, or remove per_instance=True."
        )
    binding: Optional[type] = None
    if isinstance(function, (classmethod, staticmethod)):
        binding = classmethod if isinstance(function, classmethod) else staticmethod
        function = cast("Any", function).__func__
    innermost = unwrap_partial(function)
    if isinstance(function, partialmethod):
        function = function.__get__(None, object)  # as a function of the instance
    if not callable(function):
        raise NotImplementedError(
            f"{function!r} decorating is not supported; maxsize is an int or None"
        )
    if not is_coroutine_function(innermost):
        raise RuntimeError(f"Coroutine function is required, got {function!r}")
    return cast("Any", _LRUCacheWrapper)(function, innermost, options, binding)
