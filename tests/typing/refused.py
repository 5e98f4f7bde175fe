"""Wrong use of alru_cache, which mypy and pyright must report. Never run.

A line carries an ignore comment of each checker that reports it. Both checkers report a comment
that ignores nothing. The end of ``limits.py`` has wrong lines that a checker misses.
"""

from abc import ABC, abstractmethod
from functools import partial, partialmethod
from typing import Any, Awaitable, Callable, Protocol, Tuple, Type, TypeVar

from typing_extensions import Self

from async_lru import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod, alru_cache

T = TypeVar("T")


# Function.
@alru_cache
async def bare(n: int, *, name: str = "") -> float:
    return 1.0


@alru_cache(maxsize=32, ttl=5)
async def called(n: int) -> bytes:
    return b""


async def functions() -> None:
    await bare("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bare()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await bare(1, title=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await bare(1, "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await called("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    a: str = await bare(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    bare.cache_close(1)  # type: ignore[arg-type,call-arg,unused-coroutine]  # pyright: ignore[reportCallIssue]
    bare.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await bare.__wrapped__("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    print(a)


# Function, its cache.
def caches() -> None:
    bare.cache_invalidate("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.cache_contains()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    called.cache_invalidate(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    called.cache_contains(m=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# Method.
class Service:
    @alru_cache
    async def method(self, n: int) -> str:
        return ""

    @alru_cache(ttl=5)
    async def nothing(self) -> str:
        return ""


async def methods(s: Service) -> None:
    await s.method("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await s.method()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await s.method(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await s.method(m=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await s.nothing(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    b: int = await s.method(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    s.method.cache_clear(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    print(b)


# Method, its cache.
def method_caches(s: Service) -> None:
    s.method.cache_invalidate("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    s.method.cache_contains()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    s.nothing.cache_invalidate(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# Per_instance.
class Own:
    @alru_cache(per_instance=True)
    async def get(self, n: int) -> bytes:
        return b""


async def per_instance() -> None:
    await Own().get("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Own().get.cache_invalidate()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# Generic function.
@alru_cache
async def load_row(model: Type[T], key: int = 0) -> T:
    return model()


class Row:
    name = ""


async def generic_functions() -> None:
    await load_row(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await load_row(Row, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    r: int = await load_row(Row)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    print(r)


# Generic method.
class Store:
    @alru_cache
    async def load(self, model: Type[T], key: int) -> T:
        return model()


async def generic_methods(store: Store) -> None:
    await store.load(1, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.load(Row, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.load(Row)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    n: int = await store.load(Row, 1)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    store.load.cache_invalidate(Row, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    print(n)


# Self method.
class Base:
    @alru_cache
    async def at(self, n: int) -> Self:
        return self


class Sub(Base):
    extra = 1


async def self_methods() -> None:
    await Sub().at("no")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await Sub().at()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    print((await Base().at(1)).extra)  # pyright: ignore[reportAttributeAccessIssue]
    s: Sub = await Base().at(1)  # pyright: ignore[reportAssignmentType]
    print(s)


# Protocol.
class Fetch(Protocol):
    async def fetch(self, url: str) -> bytes: ...


class WrongArgument:
    @alru_cache
    async def fetch(self, url: int) -> bytes:
        return b""


class WrongResult:
    @alru_cache
    async def fetch(self, url: str) -> int:
        return 1


def use(f: Fetch) -> None: ...


use(WrongArgument())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
use(WrongResult())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Override.
class Abstract(ABC):
    @abstractmethod
    async def fetch(self, url: str) -> bytes: ...


class WrongOverride(Abstract):
    @alru_cache
    async def fetch(self, url: int) -> bytes:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return b""


# Override of a cached method.
class Lower:
    @alru_cache
    async def get(self, n: int) -> bytes:
        return b""


class WrongHigher(Lower):
    @alru_cache
    async def get(self, n: str) -> bytes:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return b""


# Assignment.
def assignments(s: Service) -> None:
    a: _LRUCacheWrapper[str] = called  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    b: Callable[[str], Awaitable[bytes]] = called  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    c: Callable[[int], Awaitable[str]] = called  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    d: Callable[[str], Awaitable[str]] = s.method  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    e: Callable[[int], Awaitable[bytes]] = s.method  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    f: _LRUCacheWrapperInstanceMethod[bytes, Any] = s.method  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(a, b, c, d, e, f)


# Options.
alru_cache(ttl="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(maxsize="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(key=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(32, jiter=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
alru_cache(ttl=5, refresh="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(per_instance="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=lambda: 5)  # type: ignore[arg-type,misc]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=lambda found: "5")  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]


def seconds_of(result: bytes) -> float:
    return len(result)


def says_text(result: bytes) -> str:
    return ""


async def says_later(result: bytes) -> float:
    return 1


alru_cache(ttl=says_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=says_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=5, refresh=seconds_of)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


# Not a coroutine function.
def sync(n: int) -> int:
    return n


def soon(n: int) -> Awaitable[int]:
    raise NotImplementedError


alru_cache(sync)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
alru_cache(maxsize=3)(sync)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
alru_cache()(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
alru_cache(soon)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


# Partial.
async def partials() -> None:
    await alru_cache(partial(bare.__wrapped__, 1))(m=2)  # pyright: ignore[reportCallIssue]


# Classmethod inside.
class Kinds:
    @alru_cache
    @classmethod
    async def class_inside(cls, n: int) -> str:
        return ""

    @classmethod
    @alru_cache
    async def class_outside(cls, n: int) -> str:
        return ""

    @alru_cache
    @staticmethod
    async def static_inside(n: int) -> str:
        return ""

    @staticmethod
    @alru_cache
    async def static_outside(n: int) -> str:
        return ""

    async def _add(self, n: int, m: int) -> int:
        return n + m

    @alru_cache
    async def get(self, n: int) -> str:
        return ""

    partial_inside = alru_cache(partialmethod(_add, 1))


async def class_inside(kinds: Kinds) -> None:
    await Kinds.class_inside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await kinds.class_inside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Kinds.class_inside()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Kinds.class_inside.cache_invalidate("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    n: int = await Kinds.class_inside(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(n)


# Classmethod outside.
async def class_outside(kinds: Kinds) -> None:
    await Kinds.class_outside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await kinds.class_outside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Kinds.class_outside()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    n: int = await Kinds.class_outside(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(n)


# Staticmethod inside.
async def static_inside(kinds: Kinds) -> None:
    await Kinds.static_inside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await kinds.static_inside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Kinds.static_inside()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Kinds.static_inside.cache_invalidate("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    n: int = await Kinds.static_inside(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(n)


# Staticmethod outside.
async def static_outside(kinds: Kinds) -> None:
    await Kinds.static_outside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await kinds.static_outside("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Kinds.static_outside()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    n: int = await Kinds.static_outside(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(n)


# Partialmethod.
async def partialmethods(kinds: Kinds) -> None:
    n: str = await kinds.partial_inside(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(n)


# Through the class.
async def through_class(s: Service) -> None:
    await Service.method(s, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Service.method(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Service.method(s)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Service.method(5, 1)  # pyright: ignore[reportArgumentType]
    Service.method.cache_invalidate(s, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await type(s).method(s, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    n: int = await Service.method(s, 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(n)


# Any in the signature.
class Loose:
    @alru_cache
    async def argument(self, n: Any, m: int) -> int:
        return 1

    @alru_cache(maxsize=5)
    async def result(self, n: int) -> Tuple[str, Any]:
        return "", 1


@alru_cache
async def loose_argument(n: Any, m: int) -> int:
    return 1


async def loose(x: Loose) -> None:
    await x.argument(1, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await x.argument(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await x.result("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await loose_argument(1, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    n: str = await loose_argument(1, 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(n)
