"""Contract 2: what can be decorated, and what the decorated function keeps."""

import asyncio
import copy
import functools
import inspect
import pickle
import sys
import typing
import weakref
from typing import Any, AsyncIterator, Dict, Iterator, List, Tuple
from unittest import mock

import pytest

from async_lru import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod, alru_cache

from .helpers import Decorate, collect


def versioned(function: Any) -> Any:
    function.version = 1
    return function


@alru_cache
@versioned
async def documented(x: int, *, y: str = "") -> bytes:
    """What it does."""
    return b""


async def two(a: Any, b: Any) -> Tuple[Any, Any]:
    return a, b


class Box:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __bool__(self) -> bool:
        return False

    @alru_cache
    async def method(self, x: int) -> Tuple[str, int]:
        """A method."""
        return self.name, x

    @alru_cache
    @classmethod
    async def class_inside(cls, x: int) -> Tuple[type, int]:
        return cls, x

    @classmethod
    @alru_cache
    async def class_outside(cls, x: int) -> Tuple[type, int]:
        return cls, x

    @alru_cache
    @staticmethod
    async def static_inside(x: int) -> int:
        return x

    @staticmethod
    @alru_cache
    async def static_outside(x: int) -> int:
        return x

    async def _plain(self, a: Any, b: Any) -> Tuple[Any, Any, Any]:
        return self.name, a, b

    partial_inside = alru_cache(functools.partialmethod(_plain, 1))
    partial_outside = functools.partialmethod(alru_cache(_plain), 1)
    partial_nested: Any = alru_cache(
        functools.partialmethod(functools.partialmethod(_plain, 1), b=2)
    )


class SubBox(Box):
    __slots__ = ()

    @alru_cache
    async def method(self, x: int) -> Tuple[str, int]:
        name, y = await super().method(x)
        return "sub " + name, y


@pytest.fixture(autouse=True)
def cleared() -> Iterator[None]:
    yield
    for function in documented, Box.method, SubBox.method, Box.class_inside:
        function.cache_clear()
    for name in "class_outside", "static_inside", "static_outside":
        getattr(Box, name).cache_clear()
    Box.__dict__["partial_outside"].func.cache_clear()
    Box.partial_inside.cache_clear()
    Box.partial_nested.cache_clear()


# What can be decorated


async def test_partials() -> None:
    assert await alru_cache(functools.partial(two, 1))(2) == (1, 2)
    nested = functools.partial(functools.partial(two, 1), 2)
    assert await alru_cache(nested)() == (1, 2)
    assert await alru_cache(functools.partial(nested))() == (1, 2)
    assert await alru_cache(functools.partial(Box("a")._plain, 1))(2) == ("a", 1, 2)


async def test_bound_method() -> None:
    function = alru_cache(Box("a")._plain)
    assert await function(1, 2) == ("a", 1, 2)
    assert await function(1, 2) == ("a", 1, 2)
    assert function.cache_info().hits == 1


async def test_a_decorated_function_and_method() -> None:
    assert await alru_cache(documented)(1) == b""
    assert await alru_cache(Box("a").method)(1) == ("a", 1)


@pytest.mark.parametrize("spec", [None, documented])
async def test_async_mock(spec: Any) -> None:
    function = mock.AsyncMock(spec=spec, return_value=3)
    cached = alru_cache(function)
    assert [await cached(1), await cached(1)] == [3, 3]
    function.assert_awaited_once_with(1)
    assert "AsyncMock" in repr(cached)


async def test_method_of_an_instance_with_slots_that_is_false() -> None:
    box = Box("a")
    assert not box
    assert [await box.method(1), await box.method(1)] == [("a", 1)] * 2
    assert await Box.method(box, 1) == ("a", 1)
    assert box.method.cache_contains(1)
    assert not Box("b").method.cache_contains(1)
    assert box.method.cache_invalidate(1)
    assert not box.method.cache_invalidate(1)


async def test_super_method() -> None:
    assert await SubBox("a").method(5) == ("sub a", 5)


@pytest.mark.parametrize("name", ["class_inside", "class_outside"])
async def test_classmethods_are_keyed_by_class(name: str) -> None:
    for cls in Box, SubBox:
        assert await getattr(cls, name)(1) == (cls, 1)
        assert await getattr(cls("x"), name)(1) == (cls, 1)


async def test_classmethod_inside_has_the_class_as_its_instance() -> None:
    await Box.class_inside(2)
    assert Box.class_inside.cache_contains(2)
    assert not SubBox.class_inside.cache_contains(2)
    assert Box("a").class_inside.cache_invalidate(2)
    bound = Box.__dict__["class_inside"].__get__(Box("a"))
    assert await bound(2) == (Box, 2)


@pytest.mark.parametrize("name", ["static_inside", "static_outside"])
async def test_staticmethods(name: str) -> None:
    assert await getattr(Box, name)(1) == 1
    assert await getattr(Box("a"), name)(1) == 1


async def test_partialmethods() -> None:
    box = Box("a")
    assert await box.partial_inside(2) == ("a", 1, 2)
    assert await box.partial_outside(2) == ("a", 1, 2)
    assert await box.partial_nested() == ("a", 1, 2)
    assert list(inspect.signature(box.partial_inside).parameters) == ["b"]


@pytest.mark.parametrize("options", [{"ttl": 5}, {"typed": True}])
async def test_options_beside_the_function_count(
    options: Dict[str, Any], cached: Decorate
) -> None:
    async def identity(x: object) -> object:
        return x

    function = cached(identity, **options)
    assert function.cache_parameters()["maxsize"] == 128
    await function(1)
    assert await function(1.0) == 1
    assert function.cache_info().misses == (2 if "typed" in options else 1)
    by_name: Any = alru_cache
    assert await by_name(maxsize=identity)(2) == 2


async def generator_function() -> AsyncIterator[int]:
    yield 1


def plain_generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        generator_function,
        plain_generator,
        len,
        int,
        functools.partial(len, ""),
        classmethod(lambda cls: cls),
        staticmethod(len),
        functools.partialmethod(len),
        functools.partialmethod(classmethod(two)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("decorator", [alru_cache, alru_cache()])
def test_not_a_coroutine_function(decorator: Any, function: Any) -> None:
    with pytest.raises(RuntimeError, match=r"^Coroutine function is required, got "):
        decorator(function)


@pytest.mark.parametrize("thing", ["foo", 1.5, object(), [1]])
def test_not_callable(thing: Any) -> None:
    with pytest.raises(NotImplementedError, match="decorating is not supported"):
        alru_cache(thing)
    with pytest.raises(NotImplementedError, match="decorating is not supported"):
        alru_cache()(thing)


# What it keeps


def test_attributes_are_kept() -> None:
    function = documented.__wrapped__
    for name in "__name__", "__qualname__", "__doc__", "__module__", "__annotations__":
        assert getattr(documented, name) == getattr(function, name)
    assert documented.version == 1
    assert alru_cache(two).__wrapped__ is two
    assert inspect.signature(documented) == inspect.signature(function)
    assert typing.get_type_hints(documented) == typing.get_type_hints(function)


def test_names_of_a_partial_are_its_functions() -> None:
    function: Any = alru_cache(functools.partial(two, 1))
    assert function.__name__ == "two"


def test_annotations_are_read_when_asked_for() -> None:
    async def function(x: int) -> None: ...

    cached: Any = alru_cache(function)
    function.__annotations__ = {"x": str}
    assert cached.__annotations__ == {"x": str}


@pytest.mark.skipif(sys.version_info < (3, 14), reason="PEP 649")
def test_annotations_may_name_what_is_not_there_yet() -> None:
    scope: Dict[str, Any] = {"alru_cache": alru_cache}
    exec("@alru_cache\nasync def function(x: Later): ...", scope)
    scope["Later"] = int
    assert scope["function"].__annotations__ == {"x": int}


def test_method_attributes() -> None:
    method = Box("a").method
    assert method.__name__ == "method"
    assert method.__qualname__ == "Box.method"
    assert method.__doc__ == "A method."
    assert method.__module__ == __name__
    assert method.__annotations__ == Box.method.__wrapped__.__annotations__
    assert list(inspect.signature(method).parameters) == ["x"]
    assert list(inspect.signature(Box.method).parameters) == ["self", "x"]
    assert repr(method).startswith("<_LRUCacheWrapperInstanceMethod Box.method of <")
    with pytest.raises(AttributeError, match="nothing"):
        _ = method.nothing


def test_methods_compare_as_bound_methods_do() -> None:
    one, other = Box("a"), Box("a")
    assert one.method == one.method
    assert hash(one.method) == hash(one.method)
    assert one.method != other.method
    assert one.method != one.class_inside
    assert one.method != 1


def test_methods_of_equal_instances_differ() -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

        @alru_cache
        async def method(self) -> None: ...

    assert Equal().method != Equal().method


def test_is_a_coroutine_function() -> None:
    class Own:
        @alru_cache(per_instance=True)
        async def method(self) -> None: ...

    for function in documented, Box("a").method, Box.class_inside, Own().method:
        for it in function, function.__call__:  # the latter is what frameworks ask of it
            if sys.version_info < (3, 14):
                assert asyncio.iscoroutinefunction(it)
            if sys.version_info >= (3, 12):
                assert inspect.iscoroutinefunction(it)


def test_can_be_given_attributes_and_weak_references() -> None:
    function: Any = alru_cache(two)
    function.note = "x"
    assert function.note == "x"
    reference = weakref.ref(function)
    assert reference() is function
    del function
    collect()
    assert reference() is None


def test_a_bound_method_can_be_weakly_referenced() -> None:
    method = Box("a").method
    reference = weakref.ref(method)
    assert reference() is method
    del method
    collect()
    assert reference() is None


def names_of_ours() -> List[str]:
    """The attributes of a decorated function, without ``cache_*`` and double underscores."""
    names = {*dir(alru_cache(two)), "_cache", "_caches", "_typed", "_key", "_function", "name"}
    return sorted(name for name in names if "__" not in name and not name.startswith("cache_"))


async def test_attributes_of_the_function_are_seen_whatever_their_names(
    cached: Decorate,
) -> None:
    async def function(x: int) -> int:
        return x

    for name in names_of_ours():
        setattr(function, name, "its own " + name)
    wrapped = cached(function)
    for name in names_of_ours():
        assert getattr(wrapped, name) == "its own " + name
    method = wrapped.__get__(1)
    assert method._typed == "its own _typed"
    assert [await wrapped(1), await wrapped(1)] == [1, 1]
    assert await method() == 1
    assert wrapped.cache_info() == (2, 1, 128, 1)


async def test_any_attribute_can_be_set(cached: Decorate) -> None:
    wrapped = cached(two, ttl=100)
    await wrapped(1, 2)
    for name in names_of_ours():
        setattr(wrapped, name, {})
        assert getattr(wrapped, name) == {}
    assert await wrapped(1, 2) == (1, 2)
    assert wrapped.cache_info() == (1, 1, 128, 1)
    assert wrapped.cache_contains(1, 2)
    assert wrapped.cache_invalidate(1, 2)
    assert "two" in repr(wrapped)
    for name in names_of_ours():
        delattr(wrapped, name)
    assert await wrapped(1, 2) == (1, 2)


def test_repr_names_the_function() -> None:
    assert repr(documented).startswith("<_LRUCacheWrapper documented, CacheInfo(")


def test_pickles_and_copies_by_reference() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(documented, protocol)) is documented
        for kind in _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod:
            assert pickle.loads(pickle.dumps(kind, protocol)) is kind
    assert copy.copy(documented) is documented
    assert copy.deepcopy({"x": documented}) == {"x": documented}


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    async def plain(self, day: str = "") -> Tuple[str, str]:
        return self.name, day

    @alru_cache
    async def hours(self, day: str = "") -> Tuple[str, str]:
        return self.name, day


async def test_method_copies_as_a_bound_method() -> None:
    methods: List[Any] = [Shop("corner").plain, Shop("corner").hours]
    for method in methods:
        assert copy.copy(method) == method
        copies: List[Any] = [copy.deepcopy({"x": method})["x"]]
        copies += [
            pickle.loads(pickle.dumps(method, protocol))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ]
        for other in copies:
            assert type(other) is type(method)
            assert isinstance(other.__self__, Shop)
            assert other.__self__ is not method.__self__
            assert await other("Monday") == ("corner", "Monday")
    Shop.hours.cache_clear()


async def test_a_deep_copy_keeps_to_its_memo() -> None:
    shop = Shop("corner")
    copied: Any = copy.deepcopy([shop, shop.hours])
    assert copied[1].__self__ is copied[0]


async def test_a_bound_method_is_not_bound_anew() -> None:
    class Stall:
        async def plain(self, *args: Any) -> Any:
            return self, args

        hours = alru_cache(plain)

    stall: Any = Stall()

    class Chain:
        plain = stall.plain
        hours = stall.hours
        partial = functools.partialmethod(stall.hours, "Monday")

    chain: Any = Chain()
    assert await chain.plain(1) == await chain.hours(1) == (stall, (1,))
    assert await chain.partial() == (stall, (chain, "Monday"))


async def test_a_copy_of_a_bound_partialmethod() -> None:
    class Stall:
        async def plain(self, *args: Any) -> Any:
            return self, args

        hours = alru_cache(functools.partialmethod(plain, "Monday"))

    stall: Any = Stall()
    assert await copy.copy(stall.hours)(9) == (stall, ("Monday", 9))


class Countable(type):
    """A metaclass of classes that are falsy, such as an empty registry."""

    def __len__(cls) -> int:
        return 0


async def test_a_classmethod_gets_its_class_though_it_is_falsy(cached: Decorate) -> None:
    async def load(cls: Any) -> Any:
        return cls

    class Models(metaclass=Countable):
        loads = cached(classmethod(load))

    class Others(Models): ...

    assert not bool(Models)
    for cls in Models, Others:
        assert await cls.loads() is cls
        assert await cls().loads() is cls
    assert Models.loads.cache_info().currsize == 2


async def test_call_is_a_coroutine() -> None:
    calls: List[Any] = [documented(1), Box("a").method(1)]
    for call in calls:
        assert inspect.iscoroutine(call)
        await asyncio.create_task(call)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio has no such mark any more")
async def test_a_function_that_is_marked_as_a_coroutine_function() -> None:
    """Other decorators did that before ``inspect`` had a mark."""

    async def function(x: int) -> int:
        return x

    def wrapper(x: int) -> Any:
        return function(x)

    mark: Any = asyncio.coroutines
    marked: Any = wrapper
    marked._is_coroutine = mark._is_coroutine
    cached: Any = alru_cache(marked)
    assert await cached(1) == 1
