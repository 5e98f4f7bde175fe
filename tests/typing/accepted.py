"""Correct use of alru_cache, which mypy and pyright must accept. Never run.

``limits.py`` has the correct lines that a checker refuses.
"""

import asyncio
import functools
from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial, partialmethod
from typing import (
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Dict,
    Generic,
    List,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
    overload,
)

from typing_extensions import ParamSpec, Self, assert_type

from async_lru import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod, alru_cache

T = TypeVar("T")
K = TypeVar("K")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
P = ParamSpec("P")


class Row:
    name = ""


# Function.
@alru_cache
async def bare(n: int, name: str = "") -> bytes:
    return b""


@alru_cache()
async def called(n: int, *, name: str = "") -> bytes:
    return b""


@alru_cache(maxsize=None, typed=True, ttl=5, jitter=0.5)
async def with_options(*ns: int, **names: str) -> List[str]:
    return []


@alru_cache
async def no_arguments() -> int:
    return 1


positional = alru_cache(32, True)


@positional
async def by_position(n: int) -> bytes:
    return b""


async def functions() -> None:
    assert_type(await by_position(n=1), bytes)
    assert_type(await bare(1), bytes)
    assert_type(await bare(n=1, name="x"), bytes)
    assert_type(await called(1, name="x"), bytes)
    assert_type(await called(n=1), bytes)
    assert_type(await with_options(1, 2, x="y"), List[str])
    assert_type(await no_arguments(), int)
    assert_type(bare.cache_invalidate(1, "x"), bool)
    assert_type(bare.cache_invalidate(n=1), bool)
    assert_type(called.cache_contains(1, name="x"), bool)
    assert_type(no_arguments.cache_invalidate(), bool)
    assert_type(bare.cache_info().hits, int)
    assert_type(bare.cache_parameters()["tasks"], int)
    assert_type(await bare.__wrapped__(1, name="x"), bytes)
    bare.cache_clear()
    await bare.cache_close(wait=True)


# Method.
class Service:
    @alru_cache
    async def method(self, n: int, *, deep: bool = False) -> str:
        return ""

    @alru_cache(ttl=3)
    async def nothing(self) -> bytes:
        return b""

    @alru_cache(maxsize=4)
    async def many(self, *ns: int, **names: str) -> bytes:
        return b""

    @alru_cache
    async def positional(self, n: int, /) -> bytes:
        return b""

    async def user(self) -> str:
        return await self.method(1) + await self.method(n=2)


async def methods(service: Service) -> None:
    assert_type(await service.method(1, deep=True), str)
    assert_type(await service.method(n=1), str)
    assert_type(await service.nothing(), bytes)
    assert_type(await service.many(1, 2, x="y"), bytes)
    assert_type(await service.positional(1), bytes)
    assert_type(service.method.cache_invalidate(1), bool)
    assert_type(service.method.cache_contains(n=1, deep=True), bool)
    assert_type(service.nothing.cache_invalidate(), bool)
    assert_type(service.method.cache_info().hits, int)
    assert_type(service.method.cache_parameters()["closed"], bool)
    service.method.cache_clear()
    await service.method.cache_close()
    await service.method.cache_close(wait=True)


# Generic function.
@alru_cache
async def first(items: Sequence[T]) -> T:
    return items[0]


@alru_cache(ttl=5)
async def pair(key: K, *, value: T) -> Tuple[K, T]:
    return key, value


@alru_cache
async def load_row(model: Type[T], key: int = 0) -> T:
    return model()


async def generic_functions() -> None:
    assert_type(await first([1]), int)
    assert_type(await first(items=["x"]), str)
    assert_type(await pair(1, value="x"), Tuple[int, str])
    assert_type(await load_row(Row, 1), Row)
    print((await load_row(Row)).name)
    first.cache_invalidate([1])
    load_row.cache_contains(Row, key=1)


# Generic method.
class Store:
    @alru_cache
    async def first(self, items: Tuple[T, ...]) -> T:
        return items[0]

    @alru_cache(ttl=5)
    async def load(self, model: Type[T], key: int) -> T:
        return model()

    @alru_cache
    async def pair(self, key: K, value: T) -> Dict[K, T]:
        return {key: value}

    @alru_cache
    async def apply(self, function: Callable[[int], T]) -> Optional[T]:
        return None


async def generic_methods(store: Store) -> None:
    assert_type(await store.first((1, 2)), int)
    assert_type(await store.load(Row, 1), Row)
    assert_type(await store.load(model=Row, key=1), Row)
    row = await store.load(Row, 1)
    print(row.name)
    assert_type(await store.pair(1, "x"), Dict[int, str])
    assert_type(await store.apply(str), Optional[str])
    assert_type(store.load.cache_invalidate(Row, 1), bool)
    assert_type(store.load.cache_contains(Row, key=1), bool)


# Self method.
class Base:
    @alru_cache
    async def parent(self) -> Self:
        return self

    @alru_cache(ttl=5)
    async def at(self, n: int) -> Self:
        return self

    @alru_cache
    async def maybe(self, n: int) -> Optional[Self]:
        return self


class Sub(Base):
    extra = 1


async def self_methods() -> None:
    print((await Sub().parent()).extra)
    print((await (await Sub().at(1)).parent()).extra)
    s: Sub = await Sub().at(n=1)
    b: Base = await Base().parent()
    m: Optional[Sub] = await Sub().maybe(1)
    Sub().at.cache_invalidate(1)
    print(s, b, m)


# Self argument.
class Same:
    @alru_cache
    async def same(self, other: Self, n: int = 0) -> bool:
        return self is other


class SubSame(Same):
    pass


async def self_arguments() -> None:
    assert_type(await Same().same(Same()), bool)
    assert_type(await SubSame().same(SubSame(), n=1), bool)
    SubSame().same.cache_invalidate(SubSame())


# Self as a TypeVar.
S = TypeVar("S", bound="Old")


class Old:
    @alru_cache
    async def parent(self: S, n: int = 0) -> S:
        return self


class SubOld(Old):
    extra = 1


async def old_self() -> None:
    print((await SubOld().parent(1)).extra)


# Self classmethod.
class Made:
    @alru_cache
    @classmethod
    async def inside(cls, n: int) -> Self:
        return cls()

    @classmethod
    @alru_cache
    async def outside(cls, n: int) -> Self:
        return cls()


class SubMade(Made):
    extra = 1


async def self_classmethods() -> None:
    print((await SubMade.inside(1)).extra)
    print((await SubMade.outside(1)).extra)
    inside: SubMade = await SubMade.inside(1)
    outside: SubMade = await SubMade.outside(1)
    print(inside, outside)


# Generic class.
class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content

    @alru_cache
    async def get(self, n: int) -> T:
        return self.content

    @alru_cache
    async def itself(self) -> "Box[T]":
        return self

    @alru_cache
    async def with_own(self, model: Type[K], default: T) -> Dict[T, K]:
        return {}


class IntBox(Box[int]):
    @alru_cache
    async def own(self, n: int) -> "List[IntBox]":
        return [self]


async def generic_class(box: Box[str], ints: IntBox) -> None:
    assert_type(await box.get(1), str)
    assert_type(await box.itself(), Box[str])
    assert_type(await ints.get(1), int)
    assert_type(await ints.own(1), List[IntBox])
    assert_type(await Box(3).get(1), int)
    assert_type(box.get.cache_invalidate(1), bool)


# Generic method of a generic class.
async def own_of_generic(box: Box[str], ints: IntBox) -> None:
    assert_type(await box.with_own(Row, "x"), Dict[str, Row])
    assert_type(await ints.with_own(Row, 1), Dict[int, Row])


# Protocol.
class Fetch(Protocol):
    async def fetch(self, url: str) -> bytes: ...


class FetchPlain(Protocol):
    def fetch(self, url: str) -> Awaitable[bytes]: ...


class Getter(Protocol[T_co]):
    async def get(self, n: int) -> T_co: ...


class Http:
    @alru_cache(ttl=5)
    async def fetch(self, url: str) -> bytes:
        return b""


class Https(Http):
    pass


def use(f: Fetch) -> None: ...
def use_plain(f: FetchPlain) -> None: ...
def use_getter(f: Getter[str]) -> None: ...


def protocols(box: Box[str]) -> None:
    use(Http())
    use_plain(Http())
    use(Https())
    use_getter(box)
    fetch: Fetch = Http()
    print(fetch)


# Protocol, cached method declared.
class Cached(Protocol):
    @property
    def fetch(self) -> Callable[[str], Coroutine[Any, Any, bytes]]: ...


def use_cached(f: Cached) -> None: ...


use_cached(Http())


# Override of a cached method.
class Lower:
    @alru_cache
    async def get(self, n: int) -> bytes:
        return b""


class Higher(Lower):
    @alru_cache(ttl=5)
    async def get(self, n: int) -> bytes:
        return b""


async def overridden(lower: Lower) -> None:
    await lower.get(1)
    await Higher().get(1)
    Higher().get.cache_invalidate(1)


# Super.
class Calling(Lower):
    async def other(self) -> bytes:
        super().get.cache_invalidate(1)
        return await super().get(1)


# Abstract and cached.
class AbstractCached(ABC):
    @alru_cache
    @abstractmethod
    async def get(self, n: int) -> bytes: ...


class ConcreteCached(AbstractCached):
    @alru_cache
    async def get(self, n: int) -> bytes:
        return b""


# Names of a function.
def names_of_function() -> None:
    text: str = bare.__name__ + bare.__qualname__ + bare.__module__
    doc: Optional[str] = bare.__doc__
    print(text, doc)


# Names of a method.
def names_of_method(service: Service) -> None:
    text: str = service.method.__name__ + service.method.__qualname__
    doc: Optional[str] = service.method.__doc__
    through: str = Service.method.__name__ + Service.method.__qualname__
    print(text, doc, through)


# Names of a wrapper.
def names_of_wrapper(
    f: _LRUCacheWrapper[int], m: _LRUCacheWrapperInstanceMethod[int, Any]
) -> str:
    return f.__name__ + f.__qualname__ + f.__module__ + m.__name__ + m.__qualname__


# Parts of a method.
def parts(service: Service) -> None:
    assert_type(service.method.__self__, Service)
    service.method.__func__.cache_clear()
    print(service.method.__wrapped__)


# Returned as a decorator.
CB = Callable[..., Coroutine[Any, Any, R]]
CBP = Union[
    Callable[..., Coroutine[Any, Any, R]],
    "partial[Coroutine[Any, Any, R]]",
    "partialmethod[Coroutine[Any, Any, R]]",
]


def plain_factory(size: int) -> Callable[[CB[R]], _LRUCacheWrapper[R]]:
    return alru_cache(maxsize=size)


def precise_factory(
    size: int,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    return alru_cache(maxsize=size)


def build(function: Callable[..., Coroutine[Any, Any, R]]) -> _LRUCacheWrapper[R]:
    return alru_cache(maxsize=8, ttl=1.0)(function)


def build_bare(function: Callable[..., Coroutine[Any, Any, R]]) -> _LRUCacheWrapper[R]:
    return alru_cache(function)


@plain_factory(5)
async def with_plain_factory(n: int) -> bytes:
    return b""


@precise_factory(5)
async def with_precise_factory(n: int) -> bytes:
    return b""


async def factories() -> None:
    assert_type(await with_plain_factory(1), bytes)
    assert_type(await with_precise_factory(1), bytes)
    assert_type(await build(bare.__wrapped__)(1), bytes)


# Returned as 2.4.0 declares it.
def union_factory(size: int) -> Callable[[CBP[R]], _LRUCacheWrapper[R]]:
    return alru_cache(maxsize=size)


def union_build(function: CBP[R]) -> _LRUCacheWrapper[R]:
    return alru_cache(maxsize=8)(function)


def union_bare(function: CBP[R]) -> _LRUCacheWrapper[R]:
    return alru_cache(function)


# Annotated attribute.
class Cache(Generic[T]):
    cache: _LRUCacheWrapper[Optional[T]]

    async def get(self, *args: str) -> Optional[T]:
        result = await self.cache(*args)
        if result is None:
            self.cache.cache_invalidate(*args)
        return result

    def finish(self) -> int:
        return self.cache.cache_info().misses


class Resources(Cache[bytes]):
    def __init__(self, size: int) -> None:
        @alru_cache(maxsize=size)
        async def load(kbid: str, rid: str) -> Optional[bytes]:
            return b""

        self.cache = load


class Single:
    cache: _LRUCacheWrapper[int]

    def __init__(self) -> None:
        self.cache = no_arguments

    async def get(self) -> None:
        assert_type(await self.cache(), int)


# Attribute.
class Holder:
    def __init__(self) -> None:
        self.load = alru_cache(self._load)
        self.sized = alru_cache(maxsize=5)(self._load)
        self.named: _LRUCacheWrapper[bytes] = alru_cache(self._load)

    async def _load(self, n: int) -> bytes:
        return b""

    async def use(self) -> None:
        assert_type(await self.load(1), bytes)
        assert_type(await self.sized(n=1), bytes)
        assert_type(await self.named(1), bytes)
        self.load.cache_invalidate(1)
        self.named.cache_clear()


async def attributes(holder: Holder) -> None:
    assert_type(await holder.load(1), bytes)
    assert_type(await holder.named(1), bytes)
    holder.load.cache_invalidate(1)


# Dataclass field.
@dataclass
class Fields:
    load: _LRUCacheWrapper[bytes]
    fetch: Callable[[int], Awaitable[bytes]]

    @alru_cache
    async def get(self, n: int) -> bytes:
        return await self.load(n) + await self.fetch(n)


fields = Fields(bare, bare)


async def of_fields() -> None:
    assert_type(await fields.load(1), bytes)
    assert_type(await fields.get(1), bytes)


# Classmethod inside.
class Kinds:
    @alru_cache
    @classmethod
    async def class_inside(cls, n: int) -> str:
        return ""

    @classmethod
    @alru_cache(maxsize=5)
    async def class_outside(cls, n: int) -> str:
        return ""

    @alru_cache(ttl=5)
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
    partial_sized = alru_cache(maxsize=5)(partialmethod(_add, 1))
    partial_outside = partialmethod(get, 1)


async def class_inside(kinds: Kinds) -> None:
    assert_type(await Kinds.class_inside(1), str)
    assert_type(await kinds.class_inside(1), str)
    assert_type(await kinds.class_inside(n=1), str)
    Kinds.class_inside.cache_invalidate(1)
    kinds.class_inside.cache_contains(1)
    Kinds.class_inside.cache_clear()


# Classmethod outside.
async def class_outside(kinds: Kinds) -> None:
    assert_type(await Kinds.class_outside(1), str)
    assert_type(await kinds.class_outside(1), str)
    assert_type(await kinds.class_outside(n=1), str)


# Classmethod outside, its cache.
async def class_outside_cache(kinds: Kinds) -> None:
    Kinds.class_outside.cache_invalidate(1)
    kinds.class_outside.cache_clear()


# Staticmethod inside.
async def static_inside(kinds: Kinds) -> None:
    assert_type(await Kinds.static_inside(1), str)
    assert_type(await kinds.static_inside(1), str)
    assert_type(await kinds.static_inside(n=1), str)
    Kinds.static_inside.cache_invalidate(1)
    kinds.static_inside.cache_contains(1)


# Staticmethod outside.
async def static_outside(kinds: Kinds) -> None:
    assert_type(await Kinds.static_outside(1), str)
    assert_type(await kinds.static_outside(1), str)
    assert_type(await kinds.static_outside(n=1), str)
    Kinds.static_outside.cache_invalidate(1)
    kinds.static_outside.cache_contains(1)


# Classmethod of a generic class.
class Typed(Generic[T]):
    @alru_cache
    @classmethod
    async def inside(cls, n: int) -> "List[str]":
        return []

    @classmethod
    @alru_cache
    async def outside(cls, n: int) -> "List[str]":
        return []


class IntTyped(Typed[int]):
    pass


async def typed() -> None:
    assert_type(await IntTyped.inside(1), List[str])
    assert_type(await IntTyped.outside(1), List[str])


# Generic classmethod.
class Loader:
    @alru_cache
    @classmethod
    async def inside(cls, model: Type[T]) -> T:
        return model()

    @classmethod
    @alru_cache
    async def outside(cls, model: Type[T]) -> T:
        return model()


async def loader() -> None:
    inside: Row = await Loader.inside(Row)
    outside: Row = await Loader.outside(Row)
    print(inside, outside)


# Partial.
async def partials() -> None:
    function = alru_cache(partial(bare.__wrapped__, 1))
    assert_type(await function("x"), bytes)
    sized = alru_cache(maxsize=5)(partial(bare.__wrapped__, 1))
    assert_type(await sized("x"), bytes)


# Partial of a cached one.
async def partial_of() -> None:
    assert_type(await partial(bare, 1)("x"), bytes)
    assert_type(await partial(Service().method, 1)(deep=True), str)


# Partialmethod.
async def partialmethods(kinds: Kinds) -> None:
    assert_type(await kinds.partial_inside(2), int)
    assert_type(await kinds.partial_sized(2), int)
    kinds.partial_inside.cache_invalidate(2)
    assert_type(await kinds.partial_outside(), str)


# Per_instance.
class Own:
    @alru_cache(per_instance=True, ttl=5, refresh=2)
    async def get(self, n: int) -> bytes:
        return b""


async def per_instance(own: Own) -> None:
    assert_type(await own.get(1), bytes)
    assert_type(own.get.cache_contains(n=1), bool)
    assert_type(await Own.get(own, 1), bytes)
    Own.get.cache_invalidate(own, 1)
    Own.get.cache_clear()


# Function that returns a coroutine.
def returns_coroutine(n: int) -> Coroutine[Any, Any, bytes]:
    return bare.__wrapped__(n)


from_coroutine = alru_cache(returns_coroutine)


class Callee:
    async def __call__(self, n: int) -> bytes:
        return b""


from_object = alru_cache(Callee())
from_bound = alru_cache(Callee().__call__)
from_cached = alru_cache(maxsize=5)(bare)
from_cached_method = alru_cache(Service().method)


async def of_coroutine_functions() -> None:
    assert_type(await from_coroutine(1), bytes)
    assert_type(await from_object(1), bytes)
    assert_type(await from_bound(n=1), bytes)
    assert_type(await from_cached(n=1), bytes)
    assert_type(await from_cached_method(n=1), str)


# Overloads over a cached one.
@overload
async def over(x: int) -> int: ...
@overload
async def over(x: str) -> str: ...
@alru_cache
async def over(x: Union[int, str]) -> Union[int, str]:
    return x


async def overs() -> None:
    assert_type(await over(1), int)
    assert_type(await over("x"), str)


# Overloads, method.
class Overloaded:
    @overload
    async def get(self, x: int) -> int: ...
    @overload
    async def get(self, x: str) -> str: ...
    @alru_cache
    async def get(self, x: Union[int, str]) -> Union[int, str]:
        return x


async def overloaded(o: Overloaded) -> None:
    assert_type(await o.get(1), int)
    assert_type(await o.get("x"), str)


# Wraps.
def logged(
    function: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(function)
    async def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        return await function(*args, **kwargs)

    return inner


def awaited(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    return function


@logged
@alru_cache
async def logged_outside(n: int) -> bytes:
    return b""


@alru_cache
@logged
async def logged_inside(n: int) -> bytes:
    return b""


@functools.wraps(bare)
async def wrapping(n: int, name: str = "") -> bytes:
    return await bare(n, name)


class Logged:
    @logged
    @alru_cache
    async def outside(self, n: int) -> bytes:
        return b""

    @alru_cache
    @logged
    async def inside(self, n: int) -> bytes:
        return b""


async def logging(both: Logged) -> None:
    assert_type(await logged_outside(n=1), bytes)
    assert_type(await logged_inside(n=1), bytes)
    assert_type(await wrapping(n=1), bytes)
    assert_type(await both.outside(n=1), bytes)
    assert_type(await both.inside(n=1), bytes)
    assert_type(await awaited(bare)(n=1), bytes)
    assert_type(await logged(both.inside)(n=1), bytes)


# Assignment.
def assignments(service: Service) -> None:
    any_arguments: _LRUCacheWrapper[bytes] = bare
    awaitable: Callable[[int], Awaitable[bytes]] = bare
    coroutine: Callable[[int], Coroutine[Any, Any, bytes]] = bare
    anything: Callable[..., Awaitable[object]] = bare
    bound: Callable[[int], Awaitable[str]] = service.method
    bound_coroutine: Callable[[int], Coroutine[Any, Any, str]] = service.method
    bound_any: _LRUCacheWrapperInstanceMethod[str, Service] = service.method
    through: Callable[[Service, int], Awaitable[str]] = Service.method
    through_any: _LRUCacheWrapper[str] = Service.method
    functions: List[_LRUCacheWrapper[Any]] = [bare, called, no_arguments, Service.method]
    print(any_arguments, awaitable, coroutine, anything, bound, bound_coroutine, bound_any)
    print(through, through_any, functions)


def takes_wrapper(f: _LRUCacheWrapper[Any]) -> None: ...


takes_wrapper(bare)
takes_wrapper(Service.method)


# Existing code.
async def existing_code(cached: _LRUCacheWrapper[int]) -> None:
    assert_type(await cached("anything", at="all"), int)
    cached.cache_invalidate(1, 2)
    cached.cache_contains(x=1)
    cached.cache_clear()


# Asyncio.
async def with_asyncio(service: Service) -> None:
    both = await asyncio.gather(bare(1), service.method(1))
    assert_type(both, Tuple[bytes, str])
    task = asyncio.create_task(service.method(1))
    assert_type(await task, str)
    assert_type(await asyncio.wait_for(bare(1), 5), bytes)


def run(service: Service) -> None:
    assert_type(asyncio.run(bare(1)), bytes)
    assert_type(asyncio.run(service.method(1)), str)


# Isinstance.
def narrowing(x: object, f: Callable[[int], Coroutine[Any, Any, bytes]]) -> None:
    if isinstance(x, _LRUCacheWrapper):
        x.cache_clear()
    if isinstance(f, _LRUCacheWrapper):
        f.cache_clear()
    if isinstance(x, _LRUCacheWrapperInstanceMethod):
        x.cache_clear()


def clear_all(service: Service) -> None:
    for value in vars(Service).values():
        if isinstance(value, _LRUCacheWrapper):
            value.cache_clear()
    assert isinstance(bare, _LRUCacheWrapper)
    assert isinstance(service.method, _LRUCacheWrapperInstanceMethod)


# Through the class.
async def through_class(service: Service, box: Box[str]) -> None:
    assert_type(await Service.method(service, 1), str)
    assert_type(await Service.method(service, n=1, deep=True), str)
    assert_type(await type(service).method(service, 1), str)
    Service.method.cache_invalidate(service, 1)
    Service.method.cache_contains(service, n=1)
    Service.method.cache_clear()
    type(service).method.cache_clear()
    assert_type(Service.method.cache_info().hits, int)


# Through a generic class.
async def through_generic_class(box: Box[str]) -> None:
    assert_type(await Box[str].get(box, 1), str)


# Through a subclass.
async def through_subclass(https: Https) -> None:
    assert_type(await Http.fetch(https, "x"), bytes)
    assert_type(await Https.fetch(https, "x"), bytes)


# Enum.
class Colour(Enum):
    RED = 1

    @alru_cache
    async def of(self, n: int) -> bytes:
        return b""


async def colours() -> None:
    assert_type(await Colour.RED.of(1), bytes)


# Untyped self.
class Cls:
    @alru_cache
    async def odd_name(this, n: int) -> bytes:
        return b""

    @alru_cache
    async def only_args(*args: Any) -> bytes:
        return b""


async def odd(c: Cls) -> None:
    await c.odd_name(1)
    await c.only_args(1)


# Local.
def local(scale: int) -> None:
    @alru_cache(maxsize=scale or None)
    async def inner(n: int) -> int:
        return n * scale

    async def main() -> None:
        assert_type(await inner(1), int)
        inner.cache_clear()

    asyncio.run(main())


# Ttl of the result.
def seconds_of(result: bytes) -> float:
    return len(result)


def seconds_or_ever(result: bytes) -> Optional[int]:
    return len(result) or None


@alru_cache(ttl=lambda result: 60 if result else 0, refresh=5, jitter=1)
async def with_lambda(n: int) -> bytes:
    return b""


@alru_cache(ttl=seconds_of, refresh=0.5)
async def with_precise(n: int) -> bytes:
    return b""


def lifetime_of(result: bytes) -> Optional[timedelta]:
    return None


@alru_cache(
    ttl=timedelta(minutes=5), jitter=timedelta(seconds=5), refresh=timedelta(minutes=1)
)
async def with_timedelta(n: int) -> bytes:
    return b""


@alru_cache(ttl=lifetime_of)
async def with_timedelta_of_the_result(n: int) -> bytes:
    return b""


applied = alru_cache(
    with_precise.__wrapped__, ttl=seconds_or_ever, refresh=5, per_instance=False
)


async def of_the_result() -> None:
    assert_type(await with_lambda(1), bytes)
    assert_type(await with_precise(n=1), bytes)
    assert_type(await applied(n=1), bytes)


# Any in the signature.
class Loose:
    @alru_cache
    async def argument(self, n: Any, m: int) -> int:
        return 1

    @alru_cache(maxsize=5)
    async def result(self, n: int) -> Dict[str, Any]:
        return {}

    @alru_cache(maxsize=5)
    @classmethod
    async def of_class(cls, n: Dict[str, Any]) -> int:
        return 1

    @alru_cache
    @staticmethod
    async def static(n: Dict[str, Any]) -> int:
        return 1

    async def user(self) -> int:
        return await self.argument(object(), 1)


@alru_cache(maxsize=5)
async def loose_argument(*args: Any, **kwargs: Any) -> int:
    return 1


@alru_cache
async def loose_result(n: int) -> Dict[str, Any]:
    return {}


def from_settings(settings: Any, **options: Any) -> None:
    @alru_cache(maxsize=settings.size, ttl=settings.ttl)
    async def sized(n: int) -> bytes:
        return b""

    @alru_cache(**options)
    async def configured(n: int) -> bytes:
        return b""

    sized.cache_invalidate(1)
    configured.cache_clear()


async def loose(x: Loose) -> None:
    assert_type(await x.argument("", 1), int)
    assert_type(await x.result(1), Dict[str, Any])
    assert_type(await Loose.of_class({}), int)
    assert_type(await x.of_class({}), int)
    assert_type(await Loose.static({}), int)
    assert_type(await x.static({}), int)
    assert_type(await loose_argument("", 1), int)
    assert_type(await loose_result(1), Dict[str, Any])


# Patterns of 2.4's users: a cache module as in nucliadb, helpers and timers as in aiotools.
class Materializer:
    cache: "_LRUCacheWrapper[Dict[str, bytes]]"
    other: Optional["_LRUCacheWrapper[int]"] = None

    def __init__(self, size: int, parts: Sequence[str]) -> None:
        self.parts = parts
        self.cache = alru_cache(maxsize=size)(self._read)

        @alru_cache(maxsize=size, ttl=60)
        async def count(kb: str, *, of: str = "") -> int:
            return len(await self.cache(kb))

        self.other = count
        self.caches: List[_LRUCacheWrapper[Any]] = [self.cache, count]
        self.by_name: Dict[str, _LRUCacheWrapper[Any]] = {f.__name__: f for f in self.caches}

    async def _read(self, kb: str) -> Dict[str, bytes]:
        return {part: kb.encode() for part in self.parts}

    async def get(self, kb: str) -> Optional[bytes]:
        return (await self.cache(kb)).get(self.parts[0])

    def hits(self) -> int:
        return sum(cache.cache_info().hits for cache in self.caches)

    def finalize(self) -> None:
        for name, cache in self.by_name.items():
            print(f"{name}: {cache.cache_info()} {cache.cache_parameters()['maxsize']}")
            cache.cache_clear()


class Keyed(Generic[P, T]):
    cache: _LRUCacheWrapper[Optional[T]]

    async def get(self, *args: P.args, **kwargs: P.kwargs) -> Optional[T]:
        result = await self.cache(*args, **kwargs)
        if result is None:
            self.cache.cache_invalidate(*args, **kwargs)
        return result


class Facets(Keyed[[str, str], bytes]):
    def __init__(self, size: int) -> None:
        @alru_cache(maxsize=size)
        async def read(kb: str, rid: str) -> Optional[bytes]:
            return b""

        self.cache = read


current: ContextVar[Optional[Facets]] = ContextVar("current", default=None)


def every(callback: Callable[[float], Coroutine[Any, Any, None]], interval: float) -> None: ...


class Poller:
    def __init__(self) -> None:
        every(self.tick, 1.0)
        every(partial(self.of, "x"), 1.0)

    @alru_cache(maxsize=1)
    async def tick(self, interval: float) -> None: ...

    @alru_cache(maxsize=1)
    async def of(self, name: str, interval: float) -> None: ...


def sized(
    maxsize: int,
) -> Callable[[Callable[..., Coroutine[Any, Any, R]]], _LRUCacheWrapper[R]]:
    """A helper with a default of its own."""
    return alru_cache(maxsize=maxsize, ttl=5)


def when_enabled(
    function: Callable[P, Coroutine[Any, Any, R]], *, enabled: bool
) -> Callable[P, Coroutine[Any, Any, R]]:
    return alru_cache(maxsize=8)(function) if enabled else function


class Catalog:
    @sized(8)
    async def find(self, name: str) -> Row:
        return Row()

    @property
    def finder(self) -> Callable[[str], Awaitable[Row]]:
        return self.find


@sized(4)
async def resolve(host: str, port: int = 53) -> List[str]:
    return [host] * port


async def users(materializer: Materializer) -> None:
    facets = current.get()
    if facets is not None:
        assert_type(await facets.get("kb", "rid"), Optional[bytes])
    assert_type(await materializer.get("kb"), Optional[bytes])
    assert_type(await materializer.cache("kb"), Dict[str, bytes])
    if materializer.other is not None:
        assert_type(await materializer.other("kb", of="x"), int)
    assert_type(await resolve("localhost", port=5), List[str])
    assert_type(await Catalog().finder("x"), Row)
    assert_type(await when_enabled(resolve, enabled=True)("localhost"), List[str])
    results = await asyncio.gather(
        *(resolve(host) for host in ("a", "b")), return_exceptions=True
    )
    print([r for r in results if not isinstance(r, BaseException)])
    functions: Tuple[_LRUCacheWrapper[Any], ...] = (bare, called, resolve)
    for function in functions:
        await function.cache_close()
