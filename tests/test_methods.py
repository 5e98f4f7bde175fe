"""Contract 9: the ``cache_*`` methods."""

import asyncio
from typing import Any

import pytest

from async_lru import alru_cache

from .helpers import Decorate, Source, begin, identity, turns


async def test_contains_counts_and_reorders_nothing(source: Source, cached: Decorate) -> None:
    function = cached(maxsize=2)
    assert not function.cache_contains(1)
    (caller,) = await begin(function(1))
    assert function.cache_contains(1)
    source.works[0].set_result("x")
    await caller
    assert function.cache_contains(1)

    function = cached(identity, maxsize=2)
    await function(1)
    await function(2)
    info = function.cache_info()
    assert function.cache_contains(1)
    assert function.cache_info() == info
    await function(3)
    assert not function.cache_contains(1)


@pytest.mark.parametrize("ttl", [None, 1000])
async def test_a_call_may_invalidate_another_key(cached: Decorate, ttl: Any) -> None:
    async def work(x: int) -> int:
        assert not again.cache_contains(x + 1) or again.cache_invalidate(x + 1)
        return x

    again: Any = cached(work, ttl=ttl)
    for x in 2, 1, 1, 2:
        assert await again(x) == x
    assert again.cache_info() == (1, 3, 128, 2)


async def test_tasks_count_every_work_running(source: Source, cached: Decorate) -> None:
    function = cached(maxsize=1)
    callers = [asyncio.ensure_future(function(x)) for x in (1, 2, 3)]  # 1 and 2 are evicted
    await turns()
    function.cache_invalidate(3)
    callers.append(asyncio.ensure_future(function(4)))
    await turns()
    function.cache_clear()
    callers.append(asyncio.ensure_future(function(5)))
    await turns()
    assert function.cache_parameters()["tasks"] == 5
    assert function.cache_info() == (0, 1, 1, 1)
    for work in source.works:
        work.set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 5
    assert function.cache_parameters()["tasks"] == 0


async def test_invalidate_drops_one_entry(source: Source, cached: Decorate) -> None:
    function = cached(identity)
    await function(1)
    await function(2)
    assert function.cache_invalidate(1)
    assert not function.cache_invalidate(1)
    assert not function.cache_invalidate(3)
    assert function.cache_info() == (0, 2, 128, 1)
    await function(1)
    assert function.cache_info() == (0, 3, 128, 2)


async def test_invalidate_says_whether_there_was_one(source: Source, cached: Decorate) -> None:
    """An invalidation counts at once, and the next entry can be invalidated again."""
    function = cached()
    for _ in range(2):
        (caller,) = await begin(function(1))
        assert function.cache_invalidate(1)
        assert not function.cache_invalidate(1)
        assert not function.cache_contains(1)
        assert function.cache_info().currsize == 0
        source.works[-1].set_result("x")
        assert await caller == "x"
        assert not function.cache_invalidate(1)


@pytest.mark.parametrize("how", ["cache_invalidate", "cache_clear"])
async def test_work_in_flight_goes_on_for_its_callers(
    source: Source, cached: Decorate, how: str
) -> None:
    function = cached()
    callers = await begin(*[function(1) for _ in range(2)])
    getattr(function, how)(*(1,) * (how == "cache_invalidate"))
    assert not function.cache_contains(1)
    source.works[0].set_result("x")
    assert await asyncio.gather(*callers) == ["x", "x"]
    assert not function.cache_contains(1)


async def test_clear_zeroes_the_counters(cached: Decorate) -> None:
    function = cached(identity)
    for x in 1, 1, 2:
        await function(x)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    await function(1)
    await function(1)
    assert function.cache_info() == (1, 1, 128, 1)


async def test_methods_on_an_instance(cached: Decorate) -> None:
    class Box:
        @alru_cache
        async def method(self, x: int) -> int:
            return x

    one, other = Box(), Box()
    await one.method(1)
    assert one.method.cache_contains(1)
    assert not other.method.cache_contains(1)
    assert not other.method.cache_invalidate(1)
    assert one.method.cache_invalidate(1)
    assert one.method.cache_info() == other.method.cache_info() == (0, 1, 128, 0)
    assert one.method.cache_parameters() == Box.method.cache_parameters()
    one.method.cache_clear()
    assert Box.method.cache_info() == (0, 0, 128, 0)
    await one.method.cache_close()
    with pytest.raises(RuntimeError, match=r"closed for .*Box\.method in"):
        await other.method(1)
