"""Contract 11: a cache for each instance of a method's class."""

import asyncio
import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import sys
import threading
import warnings
import weakref
from typing import Any, Callable, Dict, List, Optional

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import (
    FREE_THREADED,
    PYPY,
    ClockLoop,
    Decorate,
    Source,
    Worker,
    collect,
    on_clock,
    timers,
    turns,
)


class Client:
    """Counts how often it has been asked; picklable, as are its results."""

    def __init__(self, name: Any = "client") -> None:
        self.name = name
        self.calls: List[Any] = []

    @alru_cache(per_instance=True)
    async def get(self, x: Any) -> Any:
        self.calls.append(x)
        return self.name, x

    @alru_cache(per_instance=True, ttl=1000)
    async def expiring(self, x: Any) -> Any:
        self.calls.append(x)
        return self.name, x


def added(instance: Any) -> List[str]:
    return [name for name in vars(instance) if name.startswith("_cache")]


# The option


@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_it_is_a_bool(value: Any) -> None:
    with pytest.raises(TypeError, match="per_instance"):
        alru_cache(per_instance=value)


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
def test_what_has_no_instance_is_refused(function: Any) -> None:
    with pytest.raises(ValueError, match="per_instance"):
        alru_cache(per_instance=True)(function)


def test_what_is_refused_is_said_with_a_cure() -> None:
    static: Any = staticmethod(Client.get.__wrapped__)
    with pytest.raises(ValueError, match=r"^per_instance=True stores .*Decorate a method"):
        alru_cache(per_instance=True)(static)


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
    third = copy.copy(first)  # which has the first one's entry
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


class Slots:
    __slots__ = ("__weakref__",)

    @alru_cache(per_instance=True)
    async def get(self) -> int:
        return 1


async def test_what_a_class_with_slots_lacks() -> None:
    with pytest.raises(
        TypeError, match=r"; Slots has no __dict__. Its class needs __dict__ and"
    ):
        await Slots().get()

    @alru_cache(per_instance=True)
    async def fetch(number: Any) -> Any:
        return number

    with pytest.raises(TypeError, match=r"; int has no __dict__. Is .*fetch a method\? "):
        await fetch(1)
    with pytest.raises(TypeError, match=r"; Meta has no writable __dict__. Is "):
        await fetch(Meta("C", (), {}))
    if not PYPY:
        with pytest.raises(
            TypeError, match=r"; NoWeakReference cannot be weakly referenced. Is"
        ):
            await fetch(NoWeakReference())


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
    """Its instances are classes, whose ``__dict__`` is not writable."""


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
    message = str(raised.value)
    assert message.startswith("per_instance=True stores the cache of ")
    assert '__slots__ = (..., "__dict__", "__weakref__")' in message
    assert "dict=True, weakref=True (msgspec)" in message
    assert ".get a method? " in message
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


# Dataclasses, attrs, pydantic


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"eq": True, "order": True}])
async def test_dataclasses(options: Any) -> None:
    @dataclasses.dataclass(**options)
    class Point:
        x: int

        @alru_cache(per_instance=True)
        async def get(self) -> int:
            return self.x

    first, second = Point(1), Point(1)
    assert await first.get() == 1
    assert first == second
    assert repr(first) == repr(second)
    assert dataclasses.asdict(first) == {"x": 1}
    assert dataclasses.astuple(first) == (1,)
    replaced = dataclasses.replace(first, x=2)
    assert not added(replaced)
    assert await replaced.get() == 2
    assert await first.get() == 1
    assert first.get.cache_info() == (1, 1, 128, 1)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="dataclasses have no slots")
async def test_a_dataclass_with_slots() -> None:
    class Point:
        x: int = 1

        @alru_cache(per_instance=True)
        async def get(self) -> int:
            return self.x

    dataclass: Any = dataclasses.dataclass
    point = dataclass(slots=True)(Point)()
    with pytest.raises(TypeError, match="slots=False"):
        await point.get()


async def test_attrs() -> None:
    attr: Any = pytest.importorskip("attr")

    async def fetch(self: Any) -> int:
        return int(self.x)

    get = alru_cache(per_instance=True)(fetch)
    for options in {"slots": False}, {"slots": False, "frozen": True}:
        made: Any = attr.attrs(**options)(type("Point", (), {"x": attr.ib(), "get": get}))
        first, second = made(1), made(1)
        assert await first.get() == 1
        assert first == second
        assert repr(first) == repr(second)
        assert attr.asdict(first) == {"x": 1}
        evolved = attr.evolve(first, x=2)
        assert await evolved.get() == 2
        assert await first.get() == 1


async def test_pydantic() -> None:
    pydantic: Any = pytest.importorskip("pydantic")

    async def fetch(self: Any) -> int:
        return int(self.x)

    for frozen in False, True:
        made: Any = type(
            "Model",
            (pydantic.BaseModel,),
            {
                "__annotations__": {"x": int},
                "__module__": __name__,
                "model_config": {
                    "frozen": frozen,
                    "ignored_types": (type(Client.get),),
                },
                "get": alru_cache(per_instance=True)(fetch),
            },
        )
        first, second = made(x=1), made(x=1)
        assert await first.get() == 1
        assert first == second
        assert repr(first) == repr(second)
        assert first.model_dump() == {"x": 1}
        copied = first.model_copy(update={"x": 2})
        assert await copied.get() == 2
        assert await first.get() == 1
        assert first.get.cache_info() == (1, 1, 128, 1)


# Its life


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
@pytest.mark.parametrize("method", ["get", "expiring"])
async def test_freed_as_its_last_reference_goes(no_collector: None, method: str) -> None:
    """And its results with it; its timers with the next turn of the loop."""
    client = Client()
    result = Client("result")
    client.name = result
    for _ in range(3):
        await getattr(client, method)(1)
    assert len(timers(asyncio.get_running_loop())) == (method == "expiring")
    gone = [weakref.ref(client), weakref.ref(result)]
    del client, result
    await turns()
    collect()
    assert [reference() for reference in gone] == [None, None]
    await turns()
    assert timers(asyncio.get_running_loop()) == []


@pytest.mark.skipif(PYPY or FREE_THREADED, reason="the collector is to do that")
async def test_at_once(no_collector: None) -> None:
    client = Client()
    await client.expiring(1)
    await client.get(1)
    gone = weakref.ref(client)
    del client
    assert gone() is None
    await asyncio.sleep(0)
    assert timers(asyncio.get_running_loop()) == []


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_freed_though_a_call_has_failed(no_collector: None) -> None:
    class Failing(Client):
        @alru_cache(per_instance=True)
        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise ValueError("down")

    failing: Any = Failing()
    for _ in range(2):
        with pytest.raises(ValueError, match="down"):
            await failing.fail()
        with pytest.raises(TypeError, match="argument"):
            await failing.fail(1)
    gone = weakref.ref(failing)
    del failing
    await turns()
    collect()
    assert gone() is None


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_freed_though_a_call_was_cancelled_before_its_first_step(
    no_collector: None,
) -> None:
    class Slow(Client):
        @alru_cache(per_instance=True)
        async def slow(self, x: Any) -> Any:
            await asyncio.sleep(0)

    client = Slow()
    call = client.slow(1)
    call.send(None)  # as a task's step would, and the call has a task of its own now
    with pytest.raises(asyncio.CancelledError):
        call.throw(asyncio.CancelledError())
    await turns(3)
    freed = weakref.ref(client)
    del call, client
    collect()
    assert freed() is None


async def test_freed_though_cleared_invalidated_and_looked_at(no_collector: None) -> None:
    client = Client()
    for drop in (
        client.expiring.cache_clear,
        functools.partial(client.expiring.cache_invalidate, 1),
    ):
        await client.expiring(1)
        client.expiring.cache_info()
        drop()
    del drop
    gone = weakref.ref(client)
    del client
    await turns()
    collect()
    assert gone() is None


async def refresh(client: Any, clock: ClockLoop) -> None:
    """Have its result refreshed that is due after ten seconds."""
    await client.refreshed(1)
    clock.now += 10
    await client.refreshed(1)
    await turns()


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
def test_freed_after_a_refresh(clock: ClockLoop, no_collector: None) -> None:
    class Refreshed(Client):
        @alru_cache(per_instance=True, ttl=100, refresh=10)
        async def refreshed(self, x: int) -> Any:
            await asyncio.sleep(0)
            return self.name

    async def main() -> None:
        client = Refreshed()
        await refresh(client, clock)
        gone = weakref.ref(client)
        del client
        await turns()
        collect()
        assert gone() is None
        assert timers(clock) == []

    clock.run_until_complete(main())


@pytest.mark.skipif(PYPY or FREE_THREADED, reason="there are no reference counts")
def test_nothing_is_left_to_the_collector(clock: ClockLoop, no_collector: None) -> None:
    seconds = iter([100, 0])

    class Refreshed(Client):
        @alru_cache(per_instance=True, ttl=lambda _: next(seconds), refresh=10)
        async def refreshed(self, x: int) -> Any:
            return self.name

    async def main() -> None:
        client = Refreshed()
        await refresh(client, clock)
        assert client.refreshed.cache_info() == (1, 1, 128, 0)
        gc.collect()
        del client
        await turns()

    clock.run_until_complete(main())
    assert gc.collect() == 0


async def test_a_waiting_caller_keeps_nothing_that_is_cleared(source: Source) -> None:
    class Waiting:
        @alru_cache(per_instance=True)
        async def get(self, make: Any) -> Any:
            return await source.fetch() if make is None else make()

    waiting = Waiting()
    result = weakref.ref(await waiting.get(Waiting))
    caller = asyncio.ensure_future(waiting.get(None))
    await turns()
    assert result() is not None
    waiting.get.cache_clear()
    await turns()
    collect()
    assert result() is None
    source.works[0].set_result("x")
    assert await caller == "x"


async def test_a_cleared_call_in_flight_is_known_though_another_fails(source: Source) -> None:
    """Before its work exists: where nothing else is kept, nothing would be."""

    class Waiting:
        @alru_cache(per_instance=True)
        async def get(self) -> Any:
            return await source.fetch()

    waiting: Any = Waiting()
    caller = asyncio.ensure_future(waiting.get())
    await turns()
    waiting.get.cache_clear()
    with pytest.raises(TypeError, match="argument"):
        await waiting.get(1)
    assert waiting.get.cache_parameters()["tasks"] == 1
    await waiting.get.cache_close()
    assert caller.cancelled()


async def test_a_call_in_flight_keeps_it(source: Source) -> None:
    class Waiting:
        fetch = alru_cache(per_instance=True)(_fetch)

    waiting: Any = Waiting()
    waiting.source = source
    gone = weakref.ref(waiting)
    caller = asyncio.ensure_future(waiting.fetch())
    await turns()
    del waiting
    gc.collect()
    assert gone() is not None
    source.works[0].set_result("x")
    assert await caller == "x"
    del caller
    await turns()
    gc.collect()
    assert gone() is None


async def _fetch(self: Any) -> Any:
    return await self.source.fetch()


def in_a_cycle(ttl: Optional[float]) -> Any:
    class Itself:
        @alru_cache(per_instance=True, ttl=ttl)
        async def itself(self) -> "Itself":
            return self

    return Itself()


async def test_a_result_that_refers_to_its_instance_is_freed_by_the_collector() -> None:
    instance = in_a_cycle(None)
    assert await instance.itself() is instance
    gone = weakref.ref(instance)
    del instance
    await turns()  # asyncio has the future in its hands that woke this task
    for _ in range(3):
        gc.collect()
    assert gone() is None


def test_the_timers_of_one_freed_by_the_collector(clock: ClockLoop) -> None:
    async def main() -> None:
        instance = in_a_cycle(1000)
        await instance.itself()
        gone = weakref.ref(instance)
        del instance
        await turns()
        for _ in range(3):
            gc.collect()
        assert gone() is None
        await turns()
        assert timers(clock) == []

    clock.run_until_complete(main())


async def test_a_bound_method_keeps_it() -> None:
    bound = Client("bound").get
    gc.collect()
    assert await bound(1) == ("bound", 1)
    assert await bound(1) == ("bound", 1)
    assert bound.cache_info() == (1, 1, 128, 1)


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_its_results_go_even_if_a_copy_lives(no_collector: None) -> None:
    client = Client()
    result = Client("result")
    client.name = result
    await client.get(1)
    other = copy.copy(client)
    other.name = "other"
    gone = weakref.ref(result)
    del result, client
    await turns()
    collect()
    assert gone() is None
    assert other.get.cache_info() == (0, 0, 128, 0)
    assert await other.get(1) == ("other", 1)


async def test_ten_thousand_leave_nothing_behind() -> None:
    """Nor is one answered for another when an id comes again."""

    class Many:
        def __init__(self, number: int) -> None:
            self.number = number

        @alru_cache(per_instance=True, ttl=1000)
        async def get(self) -> int:
            return self.number

    async def some(count: int) -> None:
        for number in range(count):
            many = Many(number)
            assert await many.get() == number
            assert await many.get() == number

    async def objects() -> int:
        await turns()
        if PYPY:
            collect()
            await turns()  # their timers go
        gc.collect()
        collect()
        return len(gc.get_objects()) if not PYPY else 0

    await some(100)
    before = await objects()
    await some(10_000)
    assert await objects() < before + 100
    assert Many.get.cache_info() == (0, 0, 128, 0)
    assert timers(asyncio.get_running_loop()) == []


def test_dies_in_another_thread(worker: Worker) -> None:
    """Nothing of the loop is touched but through call_soon_threadsafe."""
    held = [Client("held")]
    gone = weakref.ref(held[0])
    touched: List[int] = []

    async def use() -> None:
        await held[0].expiring(1)
        (timer,) = timers(worker.loop)
        cancel = timer.cancel
        del timer, cancel

    worker.run(use())
    worker.loop.set_debug(True)  # call_soon, of another thread, raises

    def drop() -> None:
        held.clear()
        touched.append(threading.get_ident())

    drop()
    collect()
    gc.collect()
    assert gone() is None
    worker.loop.set_debug(False)
    worker.run(turns())
    assert worker.call(lambda: timers(worker.loop)) == []


# Copies


COPIES: Dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda instance: pickle.loads(pickle.dumps(instance)),
}


@pytest.mark.parametrize("how", list(COPIES))
async def test_a_copy_starts_with_an_empty_cache(how: str) -> None:
    client = Client("first")
    await client.get(1)
    other = COPIES[how](client)
    other.name = "other"
    assert other.get.cache_info() == (0, 0, 128, 0)
    assert not other.get.cache_contains(1)
    assert not other.get.cache_invalidate(1)
    other.get.cache_clear()
    assert await other.get(1) == ("other", 1)
    assert await client.get(1) == ("first", 1)
    assert client.get.cache_info() == (1, 1, 128, 1)
    assert other.get.cache_info() == (0, 1, 128, 1)
    other.get.cache_clear()
    assert client.get.cache_contains(1)
    assert Client.get.cache_contains(client, 1)
    third = COPIES[how](other)
    third.name = "third"
    assert await third.get(1) == ("third", 1)
    assert await other.get(1) == ("other", 1)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_a_used_instance_pickles(protocol: int) -> None:
    client = Client()
    await client.get(1)
    await client.expiring(1)
    other = pickle.loads(pickle.dumps(client, protocol))
    assert await other.get(1) == ("client", 1)
    assert other.calls == [1, 1, 1]
    bound = pickle.loads(pickle.dumps(client.get, protocol))
    assert await bound(1) == ("client", 1)
    client.expiring.cache_clear()


async def test_a_copy_whose_dict_is_taken_over() -> None:
    client, other = Client("first"), Client("other")
    await client.get(1)
    vars(other).update(vars(client))
    other.name = "other"
    assert await other.get(1) == ("other", 1)
    assert await client.get(1) == ("first", 1)


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
    # Of one that was never called it is remembered.
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


def test_closed_by_an_instance_that_is_idle() -> None:
    """A call on the closed instance, that fails, does not open it."""
    client = Client()

    async def main() -> None:
        await client.get.cache_close()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="closed"):
                await client.get(1)

    asyncio.run(main())
    assert client.get.cache_parameters()["closed"]


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
    # What the others had goes with their own next call.
    assert [instance.get.cache_info().misses for instance in instances] == [1, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", AlruCacheLoopResetWarning)
        asyncio.run(use())
    assert Warned.get.cache_info() == (0, 3, 128, 3)


@pytest.mark.parametrize("attempt", range(10))
def test_first_call_in_four_threads_at_once(switching: None, attempt: int) -> None:
    """One cache wins."""
    client = Client()
    ready, called = threading.Barrier(4), threading.Barrier(4)
    errors: List[BaseException] = []

    async def main() -> None:
        ready.wait(10)
        for _ in range(3):
            assert await client.get(1) == ("client", 1)
        called.wait(10)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert client.get.cache_info() == (8, 4, 128, 4)
    assert len(added(client)) == 1


class Meddler:
    """A key the second use of which has something happen in another thread."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        self.meddle: Optional[Callable[[], None]] = meddle
        self.uses = 0

    def __hash__(self) -> int:
        self.uses += 1
        if self.uses == 2 and self.meddle:
            thread = threading.Thread(target=self.meddle)
            thread.start()
            thread.join()
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


def test_a_call_that_fails_in_another_thread() -> None:
    """At the first call; the one that does not fail wins."""
    client: Any = Client()

    async def fail() -> None:
        with pytest.raises(TypeError, match="argument"):
            await client.get(1, 2)

    key = Meddler(lambda: asyncio.run(fail()))

    async def main() -> None:
        assert await client.get(key) == ("client", key)
        assert await client.get(key) == ("client", key)
        assert client.get.cache_info() == (1, 1, 128, 1)

    asyncio.run(main())


def test_a_call_in_another_thread_between() -> None:
    client: Any = Client()

    async def other() -> None:
        assert await client.get(1) == ("client", 1)

    key = Meddler(lambda: asyncio.run(other()))

    async def main() -> None:
        assert await client.get(key) == ("client", key)
        assert await client.get(key) == ("client", key)

    asyncio.run(main())
    # Either may be the first: since 3.14 a tuple asks for a hash just once.
    assert sorted(client.calls, key=id) == sorted([1, key], key=id)


def test_a_first_call_of_a_copy_in_another_thread_between(worker: Worker) -> None:
    """What the other has put in the place of what was copied is found."""
    used: Any = Client()
    asyncio.run(used.get(1))
    copied: Any = copy.copy(used)
    others: List[Any] = [lambda: worker.run(copied.get(1))]

    class Attributes(Dict[str, Any]):
        def get(self, *args: Any) -> Any:
            if others:
                others.pop()()
            return super().get(*args)

    copied.__dict__ = Attributes(vars(copied))

    async def main() -> None:
        for _ in range(2):
            assert await copied.get(1) == ("client", 1)
        assert copied.get.cache_info() == (1, 2, 128, 2)

    asyncio.run(main())


# Expiry and refresh


@on_clock
async def test_with_ttl_and_refresh(clock: ClockLoop, source: Source, timed: Decorate) -> None:
    class Waiting:
        fetch = timed(_fetch, per_instance=True, ttl=100, refresh=60)

    waiting: Any = Waiting()
    waiting.source = source
    caller = asyncio.ensure_future(waiting.fetch())
    await turns()
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


def test_it_shows_as_any_decorated_method() -> None:
    client = Client()
    assert client.get.__name__ == "get"
    assert "Client.get" in repr(client.get)
    assert client.get == client.get
    assert client.get != Client().get
    assert hash(client.get) == hash(client.get)
    assert Client.get is vars(Client)["get"]


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
