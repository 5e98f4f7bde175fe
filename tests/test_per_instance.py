"""Contract 11: a cache for each instance of a method's class."""

import asyncio
import copy
import functools
import gc
import inspect
import sys
import warnings
import weakref
from typing import Any, Callable, Dict, List

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import (
    PYPY,
    Client,
    ClockLoop,
    Decorate,
    Source,
    Worker,
    added,
    begin,
    collect,
    on_clock,
    run_alone,
    turns,
)

# Each its own


async def test_each_has_a_cache_of_its_own() -> None:
    class Bounded(Client):
        @alru_cache(per_instance=True, maxsize=1)
        async def one(self, x: int) -> Any:
            self.calls.append(x)
            return self.name, x

    clients = [Bounded(name) for name in "abc"]
    for _ in range(3):
        for client in clients:
            assert await client.one(1) == (client.name, 1)
    assert [client.calls for client in clients] == [[1]] * 3
    assert await clients[0].one(2) == ("a", 2)
    assert [client.one.cache_contains(1) for client in clients] == [False, True, True]
    assert Bounded.one.cache_info() == (6, 4, 1, 3)
    assert clients[0].one.cache_info() == (2, 2, 1, 1)


async def test_told_apart_by_identity() -> None:
    class Same(Client):
        __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

        def __eq__(self, other: object) -> bool:
            return True

        def __bool__(self) -> bool:
            return False

    first, second = Same("first"), Same("second")
    assert await first.get(1) == ("first", 1)
    assert await second.get(1) == ("second", 1)
    assert [same.get.cache_info().hits for same in (first, second)] == [0, 0]
    assert await first.get(1) == ("first", 1)
    third = copy.copy(first)  # which refers to the cache of the first
    third.name = "third"
    assert third.get.cache_info().currsize == 0
    assert await third.get(1) == ("third", 1)
    assert await first.get(1) == ("first", 1)


async def test_the_other_options_apply() -> None:
    class Keyed:
        @alru_cache(per_instance=True, typed=True)
        async def typed(self, x: float) -> Any:
            return type(x)

        @alru_cache(per_instance=True, key=lambda *args, **kwargs: str((args[1:], kwargs)))
        async def by_key(self, x: List[int], y: int = 0) -> int:
            return len(x)

    keyed = Keyed()
    assert await keyed.typed(1) is int
    assert await keyed.typed(1.0) is float
    assert await keyed.by_key([1]) == await keyed.by_key([1]) == 1
    assert keyed.by_key.cache_info() == (1, 1, 128, 1)
    assert keyed.by_key.cache_contains([1])
    assert keyed.by_key.cache_invalidate([1])
    assert not keyed.by_key.cache_contains([1])


async def test_key_gets_the_instance_first() -> None:
    seen: List[Any] = []

    def key(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return 1

    class Keyed:
        @alru_cache(per_instance=True, key=key)
        async def get(self, x: int, y: int = 0) -> int:
            return x

    keyed: Any = Keyed()
    await keyed.get(1, y=2)
    keyed.get.cache_contains(3)
    keyed.get.cache_invalidate(y=4)
    assert seen == [((keyed, 1), {"y": 2}), ((keyed, 3), {}), ((keyed,), {"y": 4})]


async def test_no_argument_name_is_taken() -> None:
    class Naming:
        @alru_cache(per_instance=True)
        async def get(this, /, **kwargs: int) -> Dict[str, int]:  # noqa: N805
            return kwargs

    names = {"self": 1, "instance": 2, "args": 3, "key": 4, "cache": 5}
    instance: Any = Naming()
    assert await instance.get(**names) == names
    assert instance.get.cache_contains(**names)
    assert Naming.get.cache_contains(instance, **names)
    assert instance.get.cache_invalidate(**names)


async def _await_or_not(call: Any, *arguments: Any) -> None:
    result = call(*arguments)
    if inspect.isawaitable(result):
        await result


async def test_an_unhashable_argument_makes_nothing() -> None:
    client = Client()
    for call in client.get, client.get.cache_contains, client.get.cache_invalidate:
        with pytest.raises(TypeError, match="unhashable") as raised:
            await _await_or_not(call, [])
        if sys.version_info >= (3, 11):
            assert any("key=" in note for note in raised.value.__notes__)
    assert not added(client)
    await client.get(1)
    with pytest.raises(TypeError, match="unhashable"):
        await client.get([])
    assert client.get.cache_info() == (0, 1, 128, 1)


# What an instance must have


class OnlySlots:
    __slots__ = ()


class NoWeakReference:
    __slots__ = ("__dict__",)


class NoDict:
    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("option", [{}, {"key": lambda x: x}])
async def test_an_instance_that_is_missing(option: Any) -> None:
    class Box:
        @alru_cache(per_instance=True, **option)
        async def get(self, x: int = 0) -> int:
            return x

    box: Any = Box()
    get: Any = Box.get
    for kwargs in {}, {"self": box}, {"self": box, "x": 1}:
        for call in get, get.cache_contains, get.cache_invalidate:
            with pytest.raises(
                TypeError, match=r"first positional .*Box\.get.* by position\.$"
            ):
                await _await_or_not(functools.partial(call, **kwargs))
    assert get.cache_info() == (0, 0, 128, 0)
    assert not added(box)


class Meta(type):
    """A metaclass: the ``__dict__`` of its instances is not writable."""


@pytest.mark.parametrize(
    "make", [OnlySlots, NoWeakReference, NoDict, lambda: Meta("C", (), {}), object, int]
)
async def test_what_cannot_keep_a_cache(make: Callable[[], Any]) -> None:
    if PYPY and make is NoWeakReference:
        pytest.skip("everything can be weakly referenced")

    @alru_cache(per_instance=True)
    async def get(self: Any) -> int:
        return 1

    instance = make()
    call = get(instance)
    with pytest.raises(TypeError, match="slots=False") as raised:
        await call
    assert str(raised.value) == (
        f"per_instance=True stores the cache of {get.__qualname__} in its first argument, and"
        f" {type(instance).__qualname__} lacks a writable __dict__ or cannot be weakly"
        " referenced. Its class needs slots=False (dataclasses, attrs), dict=True,"
        ' weakref=True (msgspec), or __slots__ = (..., "__dict__", "__weakref__").'
    )
    assert get.cache_info() == (0, 0, 128, 0)
    assert not get.cache_contains(instance)
    assert not get.cache_invalidate(instance)


async def test_slots_that_suffice() -> None:
    class Slots:
        __slots__ = ("__dict__", "__weakref__", "x")

        @alru_cache(per_instance=True)
        async def get(self) -> int:
            return 1

    instance = Slots()
    assert await instance.get() == await instance.get() == 1
    assert instance.get.cache_info() == (1, 1, 128, 1)


# What is added to it


async def test_one_entry_under_a_private_name() -> None:
    client = Client()
    before = set(vars(client))
    await client.get(1)
    (first,) = set(vars(client)) - before
    await client.get(2)
    await client.expiring(1)
    names = set(vars(client)) - before
    assert len(names) == 2
    assert all(name.startswith("_") for name in names)
    assert first in names
    client.expiring.cache_clear()


async def test_without_setattr() -> None:
    class Strict(Client):
        armed = False

        def __setattr__(self, name: str, value: object) -> None:
            assert not self.armed
            super().__setattr__(name, value)

    strict = Strict()
    Strict.armed = True
    assert await strict.get(1) == ("client", 1)
    assert await strict.get(1) == ("client", 1)
    assert strict.calls == [1]


async def test_nothing_is_made_by_looking() -> None:
    client = Client()
    method: Any = client.get
    assert method.cache_info() == (0, 0, 128, 0)
    assert not method.cache_contains(1)
    assert not method.cache_invalidate(1)
    assert method.cache_parameters() == {
        "typed": False,
        "maxsize": 128,
        "tasks": 0,
        "closed": False,
    }
    method.cache_clear()
    assert not Client.get.cache_contains(client, 1)
    assert not Client.get.cache_invalidate(client, 1)
    repr(method)
    assert set(vars(client)) == {"name", "calls"}


async def test_nothing_is_made_for_a_call_that_fails_before_its_work() -> None:
    client: Any = Client()
    with pytest.raises(TypeError, match="argument"):
        await client.get()
    assert not added(client)
    await client.get(1)
    with pytest.raises(TypeError, match="argument"):
        await client.get()
    assert client.get.cache_info() == (0, 1, 128, 1)
    assert added(client)


async def test_an_override_and_its_super() -> None:
    class Base:
        @alru_cache(per_instance=True)
        async def get(self, x: int) -> List[str]:
            return [f"base {x}"]

    class Derived(Base):
        @alru_cache(per_instance=True)
        async def get(self, x: int) -> List[str]:
            return [*await super().get(x), f"derived {x}"]

    derived = Derived()
    for _ in range(2):
        assert await derived.get(1) == ["base 1", "derived 1"]
    assert await super(Derived, derived).get(1) == ["base 1"]
    assert derived.get.cache_info() == (1, 1, 128, 1)
    assert super(Derived, derived).get.cache_info() == (1, 1, 128, 1)
    assert len(added(derived)) == 2


async def test_two_partialmethods_of_one_function() -> None:
    async def add(self: Any, x: int, y: int) -> int:
        return x + y

    class Adding:
        one = alru_cache(per_instance=True)(functools.partialmethod(add, 1))
        two = alru_cache(per_instance=True)(functools.partialmethod(add, 2))

    adding: Any = Adding()
    assert [await adding.one(1), await adding.two(1)] == [2, 3]
    assert [await adding.one(1), await adding.two(1)] == [2, 3]
    assert adding.one.cache_info() == (1, 1, 128, 1)


async def test_a_subclass_that_inherits_it() -> None:
    class Base(Client):
        @alru_cache(per_instance=True)
        async def own(self) -> Any:
            return self.name

    class Derived(Base):
        pass

    base, derived = Base("base"), Derived("derived")
    assert [await base.own(), await derived.own()] == ["base", "derived"]
    for cls in Base, Derived:
        assert cls.own.cache_info() == (0, 2, 128, 2)
    Derived.own.cache_clear()
    assert not base.own.cache_contains()


async def test_a_cleared_call_in_flight_is_known_though_another_fails(source: Source) -> None:
    """Even if the other call fails before its work exists."""

    class Waiting:
        @alru_cache(per_instance=True)
        async def get(self) -> Any:
            return await source.fetch()

    waiting: Any = Waiting()
    (caller,) = await begin(waiting.get())
    waiting.get.cache_clear()
    with pytest.raises(TypeError, match="argument"):
        await waiting.get(1)
    assert waiting.get.cache_parameters()["tasks"] == 1
    await waiting.get.cache_close()
    assert caller.cancelled()


async def _fetch(self: Any) -> Any:
    return await self.source.fetch()


# The cache_* methods


async def test_on_an_instance_they_are_about_that_one() -> None:
    first, second = Client("first"), Client("second")
    for client in first, second:
        await client.get(1)
        await client.get(2)
    assert first.get.cache_invalidate(1)
    assert not first.get.cache_invalidate(1)
    assert second.get.cache_contains(1)
    first.get.cache_clear()
    assert first.get.cache_info() == (0, 0, 128, 0)
    assert second.get.cache_info() == (0, 2, 128, 2)
    assert first.get.cache_parameters()["tasks"] == 0


async def test_on_the_class_they_are_about_all(source: Source) -> None:
    class Waiting:
        fetch = alru_cache(per_instance=True)(_fetch)

        @alru_cache(per_instance=True)
        async def get(self, x: int) -> int:
            return x

    first, second = Waiting(), Waiting()
    for waiting in first, second:
        await waiting.get(1)
        await waiting.get(1)
    assert Waiting.get.cache_info() == (2, 2, 128, 2)
    assert await Waiting.get(first, 1) == 1
    assert first.get.cache_info() == (2, 1, 128, 1)
    assert Waiting.get.cache_contains(first, 1)
    assert Waiting.get.cache_invalidate(first, 1)
    assert not Waiting.get.cache_contains(first, 1)
    assert Waiting.get.cache_contains(second, 1)
    Waiting.get.cache_clear()
    assert Waiting.get.cache_info() == (0, 0, 128, 0)
    callers = []
    for waiting in first, second:
        waiting.source = source  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        callers.append(asyncio.ensure_future(waiting.fetch()))
    await turns()
    assert Waiting.fetch.cache_parameters()["tasks"] == 2
    assert first.fetch.cache_parameters()["tasks"] == 1
    await Waiting.fetch.cache_close()
    await turns()
    assert all(caller.cancelled() for caller in callers)


async def test_closed_on_an_instance() -> None:
    first, second = Client("first"), Client("second")
    await first.get(1)
    await first.get.cache_close()
    with pytest.raises(RuntimeError, match="closed"):
        await first.get(1)
    assert first.get.cache_parameters()["closed"]
    assert await second.get(1) == ("second", 1)
    assert not second.get.cache_parameters()["closed"]
    await first.get.cache_close()
    assert first.get.cache_info() == (0, 1, 128, 1)
    # An instance that was never called remembers that it is closed.
    third = Client("third")
    await third.get.cache_close()
    assert added(third)
    for call in third.get(1), third.get(2):
        with pytest.raises(RuntimeError, match="closed"):
            await call
    assert third.get.cache_parameters()["closed"]


def test_closed_on_the_class() -> None:
    class Closing:
        @alru_cache(per_instance=True)
        async def get(self) -> int:
            return 1

    first, second = Closing(), Closing()

    async def main() -> None:
        await first.get()
        await Closing.get.cache_close()
        assert Closing.get.cache_parameters()["closed"]
        for closing in first, second, Closing():
            with pytest.raises(RuntimeError, match="closed"):
                await closing.get()
        assert not added(second)

    async def again() -> None:
        assert not Closing.get.cache_parameters()["closed"]
        assert await first.get() == await second.get() == 1

    with warnings.catch_warnings():
        warnings.simplefilter("error", AlruCacheLoopResetWarning)
        asyncio.run(main())
        asyncio.run(again())


def test_closed_on_the_class_before_another_loop_makes_a_cache() -> None:
    class Closing:
        @alru_cache(per_instance=True)
        async def get(self) -> int:
            return 1

    closing, loop = Closing(), asyncio.new_event_loop()
    loop.run_until_complete(Closing.get.cache_close())
    assert run_alone(closing.get()) == 1
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_until_complete(closing.get())
    assert closing.get.cache_info().misses == 1
    loop.close()


# Loops


def test_each_loop_its_own(worker: Worker, another: Worker) -> None:
    client = Client()
    for loop in worker, another, worker:
        assert loop.run(client.get(1)) == ("client", 1)
    assert client.get.cache_info() == (1, 2, 128, 2)
    assert client.get.cache_invalidate(1)
    assert client.get.cache_info().currsize == 0


def test_the_loop_reset_warning_comes_once() -> None:
    class Warned:
        @alru_cache(per_instance=True)
        async def get(self) -> Any:
            return asyncio.get_running_loop()

    instances = [Warned() for _ in range(3)]

    async def use() -> List[Any]:
        return [await instance.get() for instance in instances]

    asyncio.run(use())
    assert Warned.get.cache_info() == (0, 3, 128, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AlruCacheLoopResetWarning)
        asyncio.run(instances[0].get())
    assert [w.category for w in caught] == [AlruCacheLoopResetWarning]
    assert "event loop change" in str(caught[0].message)
    # The results of the others are dropped by their own next calls.
    assert [instance.get.cache_info().misses for instance in instances] == [1, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", AlruCacheLoopResetWarning)
        asyncio.run(use())
    assert Warned.get.cache_info() == (0, 3, 128, 3)


# Expiry and refresh


@on_clock
async def test_with_ttl_and_refresh(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    class Waiting:
        fetch = timed(_fetch, per_instance=True, ttl=100, refresh=60)

    waiting: Any = Waiting()
    waiting.source = source
    (caller,) = await begin(waiting.fetch())
    source.works[0].set_result("old")
    assert await caller == "old"
    clock.now += 60
    assert await waiting.fetch() == "old"
    await turns()
    assert waiting.fetch.cache_parameters()["tasks"] == 1
    waiting.fetch.cache_clear()
    await turns()
    assert source.works[1].cancelled()
    assert waiting.fetch.cache_parameters()["tasks"] == 0


async def test_unbounded() -> None:
    class Unbounded:
        @alru_cache(maxsize=None, per_instance=True)
        async def get(self, x: int) -> int:
            return x

    instance = Unbounded()
    for x in range(200):
        await instance.get(x)
    assert await instance.get(0) == 0
    assert instance.get.cache_info() == (1, 200, None, 200)


def test_a_dropped_loop_is_let_go_when_another_calls_on_another_instance() -> None:
    class Service:
        @alru_cache(per_instance=True)
        async def ask(self) -> None: ...

    services = Service(), Service()
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(services[0].ask())
    dropped = weakref.ref(first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's
        del first
        second.run_until_complete(services[1].ask())
        gc.collect()  # a loop is a cycle
        collect()
    assert dropped() is None
    second.close()
