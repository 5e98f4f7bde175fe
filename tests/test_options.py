"""Contract 2, 7, 10 and 11: which options make sense, and how the others are refused."""

import functools
import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Type

import pytest

from async_lru import alru_cache

from .helpers import Client, identity

SECOND = timedelta(seconds=1)
INFINITY = float("inf")
IS_NO_NUMBER = "must be a number of seconds, a timedelta or None, got"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ttl": -1}, ValueError, "^ttl must be non-negative, got -1"),
        ({"ttl": -SECOND}, ValueError, "^ttl must be non-negative"),
        ({"ttl": math.nan}, ValueError, f"^ttl {IS_NO_NUMBER} nan"),
        ({"ttl": 10**400}, ValueError, "^ttl is too large for a float$"),
        ({"ttl": "5"}, TypeError, f"^ttl {IS_NO_NUMBER} '5'"),
        ({"ttl": 1j}, TypeError, f"^ttl {IS_NO_NUMBER}"),
        ({"ttl": []}, TypeError, f"^ttl {IS_NO_NUMBER}"),
        ({"ttl": Decimal(5)}, TypeError, f"^ttl {IS_NO_NUMBER}"),
        ({"ttl": True}, TypeError, f"^ttl {IS_NO_NUMBER} True"),
        ({"jitter": 1}, ValueError, "^jitter requires ttl to be set$"),
        ({"ttl": 1, "jitter": -1}, ValueError, "^jitter must be non-negative"),
        ({"ttl": 1, "jitter": -SECOND}, ValueError, "^jitter must be non-negative"),
        ({"ttl": abs, "jitter": -1}, ValueError, "^jitter must be non-negative"),
        ({"ttl": 1, "jitter": math.nan}, ValueError, f"^jitter {IS_NO_NUMBER} nan"),
        ({"ttl": 1, "jitter": INFINITY}, ValueError, "^jitter must be finite"),
        ({"ttl": abs, "jitter": 10**400}, ValueError, "^jitter is too large for a float$"),
        ({"ttl": 1, "jitter": "1"}, TypeError, f"^jitter {IS_NO_NUMBER}"),
        ({"ttl": 1, "jitter": False}, TypeError, f"^jitter {IS_NO_NUMBER}"),
        ({"refresh": 5}, ValueError, "^refresh requires ttl to be set$"),
        ({"refresh": 6, "ttl": 5}, ValueError, "^refresh .* ttl, got refresh=6 and ttl=5$"),
        ({"refresh": 5, "ttl": 5}, ValueError, "^refresh must be less than ttl"),
        ({"refresh": 0, "ttl": 0}, ValueError, "^refresh must be less than ttl"),
        ({"refresh": INFINITY, "ttl": INFINITY}, ValueError, "^refresh must be less than ttl"),
        ({"refresh": 1, "ttl": SECOND}, ValueError, "^refresh must be less than ttl"),
        ({"refresh": SECOND, "ttl": 1}, ValueError, r"refresh=.*seconds=1\) and ttl=1$"),
        ({"refresh": -1, "ttl": 5}, ValueError, "^refresh must be non-negative"),
        ({"refresh": -SECOND, "ttl": 5}, ValueError, "^refresh must be non-negative"),
        ({"refresh": math.nan, "ttl": abs}, ValueError, f"^refresh {IS_NO_NUMBER} nan"),
        ({"refresh": 10**400, "ttl": abs}, ValueError, "^refresh is too large for a float$"),
        ({"refresh": "5", "ttl": 50}, TypeError, f"^refresh {IS_NO_NUMBER}"),
        ({"refresh": abs, "ttl": 50}, TypeError, f"^refresh {IS_NO_NUMBER}"),
        ({"refresh": False, "ttl": 1}, TypeError, f"^refresh {IS_NO_NUMBER}"),
        ({"typed": 60}, TypeError, "^typed must be a bool, got 60.*ttl=60"),
        ({"typed": None}, TypeError, "^typed must be a bool, got None"),
        ({"key": 3}, TypeError, "^key must be callable, got 3"),
        ({"key": len, "typed": True}, ValueError, "^typed=True cannot be combined with key$"),
        ({"per_instance": 1}, TypeError, "^per_instance must be a bool, got 1"),
        ({"per_instance": None}, TypeError, "^per_instance must be a bool, got None"),
    ],
)
def test_an_option_that_makes_no_sense(
    options: Any, error: Type[Exception], message: str
) -> None:
    decorate: Any = alru_cache
    for arguments in (), (identity,):
        with pytest.raises(error, match=message):
            decorate(*arguments, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": Fraction(1, 2), "jitter": 0},
        {"ttl": INFINITY, "refresh": 5},
        {"ttl": 1, "refresh": 0},
        {"ttl": 1, "refresh": 0.5},
        {"ttl": lambda _: 1, "refresh": 5},
        {"ttl": lambda _: None, "refresh": 5, "jitter": 3},
        {"ttl": None, "jitter": None, "refresh": None, "key": None},
    ],
)
def test_options_that_make_sense(options: Any) -> None:
    alru_cache(identity, **options)


@pytest.mark.parametrize("maxsize", [1.5, "100"])
def test_a_maxsize_of_another_type(maxsize: Any) -> None:
    """It is taken for the function, and the error names both."""
    with pytest.raises(NotImplementedError, match="decorating is not supported") as caught:
        alru_cache(maxsize=maxsize)
    assert "maxsize is an int or None" in str(caught.value)


def test_a_negative_maxsize_counts_as_zero() -> None:
    assert alru_cache(maxsize=-3)(identity).cache_info().maxsize == 0


def test_ttl_is_given_by_name() -> None:
    decorator: Any = alru_cache
    with pytest.raises(TypeError, match="positional"):
        decorator(128, False, 5)
    with pytest.raises(TypeError, match=r"^typed must be a bool, got 60"):
        decorator(128, 60)


class AsyncCall:
    async def __call__(self, result: object) -> float:
        return 1

    async def method(self, result: object) -> float:
        return 1

    shared = alru_cache(method)
    own = alru_cache(per_instance=True)(method)


@pytest.mark.parametrize("option", ["ttl", "key"])
@pytest.mark.parametrize(
    "function",
    [
        identity,
        functools.partial(identity, 1),
        functools.partial(functools.partial(AsyncCall()), 1),
        AsyncCall(),
        AsyncCall().method,
        alru_cache(identity),
        AsyncCall().shared,
        AsyncCall().own,
    ],
    ids=lambda function: type(function).__name__,
)
def test_a_coroutine_function_is_neither_ttl_nor_key(option: str, function: Any) -> None:
    with pytest.raises(TypeError, match=f"^{option} must be a plain function"):
        alru_cache(**{option: function})


@pytest.mark.parametrize(
    "function",
    [
        classmethod(Client.get.__wrapped__),  # pyright: ignore[reportArgumentType]
        staticmethod(Client.get.__wrapped__),
        Client().get.__wrapped__,
        Client().get,
        alru_cache(Client.get.__wrapped__).__get__(Client()),
    ],
    ids=["class", "static", "bound", "bound per instance", "bound and cached"],
)
def test_per_instance_without_an_instance(function: Any) -> None:
    with pytest.raises(ValueError, match=r"^per_instance=True stores .*Decorate a method"):
        alru_cache(per_instance=True)(function)
