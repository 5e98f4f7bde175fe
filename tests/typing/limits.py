"""Known limits of the types, which docs/guide.rst lists. Never run.

Each limit has a line with alru_cache and, if the cause is a checker's, the smallest case without
alru_cache. An ignore comment marks a correct line that the checker refuses, and Any marks a type
that it does not know. When a new version of a checker accepts such a line, it reports the
comment or the assertion: remove the limit here and in the guide.
"""

# pyright: reportUnknownArgumentType=true, reportUnknownMemberType=true

from abc import ABC, abstractmethod
from functools import partial, partialmethod
from typing import (
    Any,
    Awaitable,
    Callable,
    Generic,
    Protocol,
    Type,
    TypeVar,
    Union,
    overload,
)

from typing_extensions import Concatenate, ParamSpec, Self, assert_type

from async_lru import alru_cache

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class Kept(Generic[P, R_co]):
    """What any decorator makes that keeps the parameters and is not a function."""

    def __init__(self, function: Callable[P, R_co]) -> None:
        self.function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.function(*args, **kwargs)

    def __get__(
        self: "Callable[Concatenate[T, Q], R]",  # pyright: ignore[reportGeneralTypeIssues]
        instance: T,
        owner: Any = None,
    ) -> "Callable[Q, R]":
        raise NotImplementedError


class Row:
    pass


# A method that returns Self: mypy answers Any.
class Parent:
    @alru_cache
    async def itself(self) -> Self:
        return self

    @Kept
    def kept(self) -> Self:
        return self


async def of_self() -> None:
    assert_type(await Parent().itself(), Parent)  # type: ignore[assert-type]
    assert_type(Parent().kept(), Parent)  # type: ignore[arg-type,assert-type]


# A method with type variables through its class: mypy answers Never.
class Store:
    @alru_cache
    async def load(self, model: Type[T], key: int) -> T:
        return model()

    @Kept
    def kept(self, model: Type[T]) -> T:
        return model()


async def through_class(store: Store) -> None:
    assert_type(await Store.load(store, Row, 1), Row)  # type: ignore[arg-type,assert-type]
    assert_type(store.kept(Row), Row)  # type: ignore[arg-type,assert-type]


# A method of a generic class through that class: the result is not known.
class Box(Generic[T]):
    @alru_cache
    async def get(self, n: int) -> T:
        raise NotImplementedError


async def through_generic_class(box: Box[str]) -> None:
    assert_type(await Box.get(box, 1), str)  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure, reportUnknownMemberType]
    Box.get.cache_invalidate(box, 1)  # pyright: ignore[reportUnknownMemberType]


# An overloaded function: only its first overload is seen.
@overload
async def either(x: int) -> int: ...
@overload
async def either(x: str) -> str: ...
async def either(x: Union[int, str]) -> Union[int, str]:
    return x


cached_either = alru_cache(either)
kept_either = Kept(either)


async def eithers() -> None:
    assert_type(await cached_either("x"), str)  # type: ignore[arg-type,assert-type]  # pyright: ignore[reportArgumentType, reportAssertTypeFailure]
    assert_type(await kept_either("x"), str)  # type: ignore[arg-type,assert-type]  # pyright: ignore[reportArgumentType, reportAssertTypeFailure]


# A function that is generic in the parameters of another.
@alru_cache  # type: ignore[arg-type]
async def call(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    return await function(*args, **kwargs)


@Kept  # type: ignore[arg-type]
def kept_call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return function(*args, **kwargs)


async def add(n: int, *, m: int = 0) -> int:
    return n + m


async def calls() -> None:
    assert_type(await call(add, 1, m=2), int)  # type: ignore[arg-type,assert-type]  # pyright: ignore[reportAssertTypeFailure, reportCallIssue]
    assert_type(await kept_call(add, 1, m=2), int)  # type: ignore[arg-type,assert-type]  # pyright: ignore[reportAssertTypeFailure, reportCallIssue]


# Overriding a method that is not cached, plain or abstract: pyright wants a function.
class Abstract(ABC):
    @abstractmethod
    async def fetch(self, url: str) -> bytes: ...

    @abstractmethod
    def kept(self, url: str) -> bytes: ...


class Concrete(Abstract):
    @alru_cache
    async def fetch(self, url: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return b""

    @Kept
    def kept(self, url: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return b""


class Fetch(Protocol):
    async def fetch(self, url: str) -> bytes: ...


class Explicit(Fetch):
    @alru_cache
    async def fetch(self, url: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return b""


# Overriding a cached method, with one optional parameter more.
class Lower:
    @alru_cache
    async def get(self, n: int) -> bytes:
        return b""

    @Kept
    def kept(self, n: int) -> bytes:
        return b""


class Higher(Lower):
    @alru_cache
    async def get(self, n: int, m: int = 0) -> bytes:  # pyright: ignore[reportIncompatibleVariableOverride]
        return b""

    @Kept
    def kept(self, n: int, m: int = 0) -> bytes:  # pyright: ignore[reportIncompatibleVariableOverride]
        return b""


# A key that is a lambda: pyright in strict mode does not know its parameters.
@alru_cache(key=lambda n: n)  # pyright: ignore[reportUnknownArgumentType]
async def with_key(n: int) -> int:
    return n


def takes(function: Callable[..., object]) -> None: ...


takes(lambda n: n)  # pyright: ignore[reportUnknownArgumentType]


# A size of unknown type, by position: several overloads match, and the result is not known.
anything: Any = 5
decorator = alru_cache(anything)
assert_type(decorator, Any)


@overload
def several(x: int) -> int: ...
@overload
def several(x: str) -> str: ...
def several(x: Any) -> Any:
    return x


assert_type(several(anything), Any)


# Wrong lines that are missed. A checker that finds one needs an ignore comment here.
class Kinds:
    async def _add(self, n: int, m: int) -> int:
        return n + m

    @alru_cache
    async def method(self, n: int) -> str:
        return ""

    partial_inside = alru_cache(partialmethod(_add, 1))


async def missed(kinds: Kinds) -> None:
    await kinds.partial_inside("no")
    await alru_cache(partial(add, 1))(k=2)  # pyright: ignore[reportCallIssue]
    partial(add, 1)(k=2)  # type: ignore[call-arg,unused-coroutine]  # pyright: ignore[reportCallIssue]
    await Kinds.method(5, 1)  # pyright: ignore[reportArgumentType]
