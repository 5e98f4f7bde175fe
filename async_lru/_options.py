"""The options of a decorated function, the keys of its calls, the lifetime of its results."""

import asyncio
import functools
import inspect
import math
import random
import sys
from datetime import timedelta
from numbers import Real
from time import monotonic
from typing import Any, Callable, Dict, Hashable, List, Optional, Tuple, Union

is_coroutine_function: Callable[[Any], bool] = (
    inspect.iscoroutinefunction if sys.version_info >= (3, 14) else asyncio.iscoroutinefunction
)

Seconds = Union[float, timedelta]
TTL = Union[None, Seconds, Callable[[Any], Optional[Seconds]]]


class Options:
    """The options, checked. Durations are floats, in seconds."""

    def __init__(
        self,
        maxsize: Optional[int],
        typed: Any,
        ttl: Any,
        jitter: Any,
        key: Any,
        refresh: Any,
        per_instance: Any,
    ) -> None:
        """Raise TypeError or ValueError for an option that makes no sense."""
        self.ttl_is_function: bool = callable(ttl)
        if self.ttl_is_function:
            _require_plain("ttl", ttl)
        self.ttl: Any = ttl if self.ttl_is_function else _non_negative("ttl", ttl, None)
        self.jitter: float = _non_negative("jitter", jitter, 0)
        self.refresh: float = _non_negative("refresh", refresh, math.inf)  # infinity is never
        for name, value in ("jitter", jitter), ("refresh", refresh):
            if value is not None and ttl is None:
                raise ValueError(f"{name} requires ttl to be set")
        if self.jitter == math.inf:
            raise ValueError("jitter must be finite")
        if refresh is not None and not self.ttl_is_function and self.refresh >= self.ttl:
            raise ValueError(f"refresh must be less than ttl, got {refresh=} and {ttl=}")
        if not isinstance(typed, bool):
            raise TypeError(
                f"typed must be a bool, got {typed!r}."
                " Pass other options by name, such as ttl=60"
            )
        if key is not None:
            _require_plain("key", key)
            if typed:
                raise ValueError("typed=True cannot be combined with key")
        if not isinstance(per_instance, bool):
            raise TypeError(f"per_instance must be a bool, got {per_instance!r}")
        self.maxsize: Optional[int] = None if maxsize is None else max(maxsize, 0)
        self.typed = typed
        self.key: Optional[Callable[..., Hashable]] = key
        self.per_instance = per_instance

    def key_maker(self) -> Callable[[Any, Any], Hashable]:
        """Return a function that makes a key from the arguments of a call."""
        key = self.key
        if key is None:
            return typed_key if self.typed else untyped_key
        return lambda args, kwargs: key(*args, **kwargs)

    def lifetime(self, name: str, result: Any, context: Any) -> Optional[Tuple[float, float]]:
        """When a result is due, and when it expires, by ``time.monotonic()``.

        None if it is not to be kept.
        """
        ttl = self.ttl
        if self.ttl_is_function:
            try:
                # In a copy, because a caller may be running in the context itself.
                ttl = context.copy().run(ttl, result)
            except StopIteration as error:  # as in a coroutine, which ends with one
                raise RuntimeError(f"{name}: ttl() raised StopIteration") from error
            ttl = math.inf if ttl is None else _seconds(f"{name}: the result of ttl()", ttl)
            if ttl <= 0:
                return None
        due, now = min(self.refresh, ttl), monotonic()
        if self.jitter and due < math.inf:
            now += random.uniform(0, self.jitter)  # noqa: S311  # no secret
        return now + due, now + ttl


# Keys are flat tuples, hashed and compared in C, in the manner of functools._make_key.

# Separates positional from keyword arguments, because no argument is ever this object.
_KEYWORDS = object()


def untyped_key(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Hashable:
    if not kwargs:
        return args
    return (*args, _KEYWORDS, *kwargs, *kwargs.values())


def typed_key(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Hashable:
    if not kwargs:
        if len(args) == 1:  # a short path for the most common call
            first: object = args[0]
            return first, type(first)
        types: List[type] = [type(x) for x in args]  # a list is fastest here
        return (*args, *types)
    values = kwargs.values()
    return (*args, _KEYWORDS, *kwargs, *values, *map(type, args), *map(type, values))


def unwrap_partial(function: Any) -> Any:
    while isinstance(function, (functools.partial, functools.partialmethod)):
        function = function.func
    return function


def _require_plain(name: str, value: Any) -> None:
    """Raise TypeError for an object that cannot be called, or a coroutine function."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    value = unwrap_partial(value)
    if is_coroutine_function(value) or is_coroutine_function(type(value).__call__):
        raise TypeError(
            f"{name} must be a plain function, got the coroutine function {value!r}"
        )


def _non_negative(name: str, value: Any, default: Any) -> Any:
    if value is None:
        return default
    seconds = _seconds(name, value)
    if seconds < 0:
        raise ValueError(f"{name} must be non-negative, got {value!r}")
    return seconds


def _seconds(name: str, value: Any) -> float:
    """Convert a number of seconds or a timedelta to a float."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    wanted = f"{name} must be a number of seconds, a timedelta or None, got"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{wanted} {value!r}")
    try:
        seconds = float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a float") from None
    if math.isnan(seconds):
        raise ValueError(f"{wanted} nan")
    return seconds
