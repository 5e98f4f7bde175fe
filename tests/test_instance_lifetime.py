"""Contract 11: an instance and its cache are freed together, and copies start empty."""

import asyncio
import copy
import functools
import gc
import pickle
import weakref
from typing import Any, Callable, Dict, Optional

import pytest

from async_lru import alru_cache

from .helpers import (
    FREE_THREADED,
    PYPY,
    Client,
    ClockLoop,
    Source,
    Thing,
    Worker,
    begin,
    collect,
    objects,
    on_clock,
    timers,
    turns,
)

# Its life


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
@pytest.mark.parametrize("method", ["get", "expiring"])
async def test_freed_as_its_last_reference_goes(no_collector: None, method: str) -> None:
    """At once, with its results; its timers are cancelled with the next turn of the loop."""
    client = Client()
    result = Client("result")
    client.name = result
    for _ in range(3):
        await getattr(client, method)(1)
    assert len(timers(asyncio.get_running_loop())) == (method == "expiring")
    gone = [weakref.ref(client), weakref.ref(result)]
    del client
    assert gone[0]() is None or FREE_THREADED
    del result
    await turns()  # asyncio holds the last result that it has handed over
    collect()
    assert [reference() for reference in gone] == [None, None]
    await turns()
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
async def test_freed_though_a_call_was_cancelled_before_its_first_step(
    no_collector: None,
) -> None:
    class Slow(Client):
        @alru_cache(per_instance=True)
        async def slow(self, x: Any) -> Any:
            await asyncio.sleep(0)

    client = Slow()
    call = client.slow(1)
    call.send(None)  # as a task's step would; the run has its own task now
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
    """Have a result refreshed that is due after ten seconds."""
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
    (caller,) = await begin(waiting.get(None))
    assert result() is not None
    waiting.get.cache_clear()
    await turns()
    collect()
    assert result() is None
    source.works[0].set_result("x")
    assert await caller == "x"


async def test_a_call_in_flight_keeps_it(source: Source) -> None:
    class Waiting:
        fetch = alru_cache(per_instance=True)(_fetch)

    waiting: Any = Waiting()
    waiting.source = source
    gone = weakref.ref(waiting)
    (caller,) = await begin(waiting.fetch())
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
    await turns()  # asyncio holds the future that woke this task
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
async def test_its_results_are_freed_even_if_a_copy_lives(no_collector: None) -> None:
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
    """And no instance gets the result of an earlier one that had the same id."""

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

    async def left() -> int:
        await turns()
        if PYPY:
            collect()
            await turns()  # their timers are cancelled
        return objects()

    await some(100)
    before = await left()
    await some(10_000)
    assert await left() < before + 100
    assert Many.get.cache_info() == (0, 0, 128, 0)
    assert timers(asyncio.get_running_loop()) == []


def test_freed_in_another_thread(worker: Worker) -> None:
    """The loop is touched only through call_soon_threadsafe()."""
    held = [Client("held")]
    gone = weakref.ref(held[0])

    async def use() -> None:
        await held[0].expiring(1)

    worker.run(use())
    worker.loop.set_debug(True)  # call_soon() raises in another thread
    held.clear()
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


async def test_joblib_hashes_a_used_instance() -> None:
    """As its Memory does with an argument."""
    joblib: Any = pytest.importorskip("joblib")
    client = Client()
    assert joblib.hash(client)
    await client.get(1)
    assert joblib.hash(client)


async def test_a_copy_whose_dict_is_taken_over() -> None:
    client, other = Client("first"), Client("other")
    await client.get(1)
    vars(other).update(vars(client))
    other.name = "other"
    assert await other.get(1) == ("other", 1)
    assert await client.get(1) == ("first", 1)


@pytest.mark.skipif(PYPY, reason="there are no reference counts")
async def test_a_refresh_that_says_zero_leaves_no_cycle(no_collector: None) -> None:
    lifetimes = [1000.0, 1000.0, 0.0]

    class Client:
        @alru_cache(ttl=lambda _: lifetimes.pop(0), refresh=0, per_instance=True)
        async def get(self, x: str) -> Thing:
            return Thing()

    client = Client()
    reference = weakref.ref(await client.get("stays"))
    await client.get("goes")
    await client.get("goes")  # which starts a refresh
    await turns()
    del client
    await turns()
    collect()
    assert reference() is None


@on_clock
async def test_freed_as_its_timer_is_about_to_fire(
    clock: ClockLoop, no_collector: None
) -> None:
    class Box:
        @alru_cache(per_instance=True, ttl=10)
        async def get(self) -> None: ...

    boxes = [Box()]
    reference = weakref.ref(boxes[0])
    await boxes[0].get()
    clock.call_later(9, boxes.clear)
    clock.now += 10  # both are due in the same turn
    await turns()
    collect()
    assert reference() is None
    assert timers(clock) == []
