"""The options of a decorated function: checked, and what they mean for a result."""

import functools
import math
import random
from datetime import timedelta
from numbers import Real
from time import monotonic
from typing import Any, Callable, Optional, Tuple, Union

from ._function import is_coroutine_function

# By time.monotonic(): the moments from which a result is due for a refresh, and has expired.
Lifetime = Tuple[float, float]
FOREVER: Lifetime = (math.inf, math.inf)

Seconds = Union[float, timedelta]
TTL = Union[None, Seconds, Callable[[Any], Optional[Seconds]]]


class Options:
    """How many results are kept, and for how many seconds."""

    __slots__ = ("asks", "jitter", "maxsize", "refresh", "ttl")

    def __init__(self, maxsize: Optional[int], ttl: Any, jitter: Any, refresh: Any) -> None:
        """Raises what is wrong with them."""
        if callable(ttl):
            require_plain("ttl", ttl)
        elif ttl is not None:
            ttl = _non_negative("ttl", ttl)
        if jitter is not None:
            jitter = _non_negative("jitter", jitter)
            if ttl is None:
                raise ValueError("jitter requires ttl to be set")
            if jitter == math.inf:
                raise ValueError("jitter must be finite")
        if refresh is not None:
            refresh = _non_negative("refresh", refresh)
            if ttl is None:
                raise ValueError("refresh requires ttl to be set")
            if not callable(ttl) and refresh >= ttl:
                raise ValueError(f"refresh must be less than ttl, got {refresh!r}")
        self.maxsize = None if maxsize is None else max(maxsize, 0)
        self.ttl: Union[float, Callable[[Any], Any], None] = ttl
        # Whether the ttl is a function, to be asked.
        self.asks = callable(ttl)
        self.jitter: float = jitter or 0
        self.refresh: Optional[float] = refresh

    def lifetime(self, result: Any) -> Optional[Lifetime]:
        """How long a ttl has a result kept; None: not at all. Calls a ``ttl`` function."""
        ttl, refresh = self.ttl, self.refresh
        if callable(ttl):
            try:
                ttl = _answer(ttl(result))
            except StopIteration as error:  # as in a coroutine, which ends with one
                raise RuntimeError("ttl raised StopIteration") from error
            if ttl <= 0:
                return None
        assert ttl is not None
        if ttl == math.inf and refresh is None:
            return FOREVER
        now = monotonic()
        if self.jitter:
            now += random.uniform(0, self.jitter)  # noqa: S311  # no secret
        until = now + ttl
        if refresh is None or refresh >= ttl:
            return until, until
        return now + refresh, until


def require_plain(name: str, value: Any) -> None:
    """Refuse what would return a coroutine where a plain answer is wanted."""
    while isinstance(value, functools.partial):
        value = value.func
    call = type(value).__call__
    if is_coroutine_function(value) or is_coroutine_function(call):
        raise TypeError(
            f"{name} must be a plain function, got the coroutine function {value!r}"
        )


def _non_negative(name: str, value: Any) -> float:
    seconds = _seconds(name, value)
    if not seconds >= 0:
        raise ValueError(f"{name} must be non-negative, got {value!r}")
    return seconds


def _answer(value: Any) -> float:
    """What a ``ttl`` function has said."""
    if value is None:
        return math.inf
    seconds = _seconds("what ttl returns", value)
    if math.isnan(seconds):
        raise ValueError("what ttl returns must be a number of seconds, got nan")
    return seconds


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a float") from None
