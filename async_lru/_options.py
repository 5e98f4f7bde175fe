"""The options of a decorated function: checked, and what they mean for a result."""

import copy
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

    __slots__ = ("asks", "jitter", "keyed", "maxsize", "name", "refresh", "ttl")

    def __init__(self, maxsize: Optional[int], ttl: Any, jitter: Any, refresh: Any) -> None:
        """Raise TypeError or ValueError for an option that makes no sense."""
        given = f"refresh={refresh!r} and ttl={ttl!r}"
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
                raise ValueError(f"refresh must be less than ttl, got {given}")
        self.maxsize = None if maxsize is None else max(maxsize, 0)
        self.ttl: Union[float, Callable[[Any], Any], None] = ttl
        # Whether the ttl is a function, to be asked.
        self.asks = callable(ttl)
        self.jitter: float = jitter or 0
        self.refresh: Optional[float] = refresh
        # For error messages: the decorated function's name, and whether it has key=.
        self.name = ""
        self.keyed = False

    def of(self, name: str, *, keyed: bool) -> "Options":
        """Copy them for one decorated function."""
        options = copy.copy(self)
        options.name = name
        options.keyed = keyed
        return options

    def lifetime(self, result: Any) -> Optional[Lifetime]:
        """How long a ttl has a result kept; None: not at all. Calls a ``ttl`` function."""
        ttl, refresh = self.ttl, self.refresh
        if callable(ttl):
            try:
                ttl = _answer(self.name, ttl(result))
            except StopIteration as error:  # as in a coroutine, which ends with one
                raise RuntimeError(f"{self.name}: ttl() raised StopIteration") from error
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
    try:
        seconds = _seconds(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a float") from None
    if seconds is None:
        raise TypeError(f"{name} must be a number of seconds or a timedelta, got {value!r}")
    if not seconds >= 0:
        raise ValueError(f"{name} must be non-negative, got {value!r}")
    return seconds


def _answer(name: str, value: Any) -> float:
    """The seconds that the ``ttl`` function of the function with this name has returned."""
    if value is None:
        return math.inf
    wanted = "It must return a number of seconds, a timedelta or None."
    try:
        seconds = _seconds(value)
    except OverflowError:
        raise ValueError(
            f"{name}: ttl() returned a number too large for a float. {wanted}"
        ) from None
    if seconds is None:
        raise TypeError(f"{name}: ttl() returned {value!r}. {wanted}")
    if math.isnan(seconds):
        raise ValueError(f"{name}: ttl() returned nan. {wanted}")
    return seconds


def _seconds(value: Any) -> Optional[float]:
    """Convert to a float; None for a value of another type."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value)
