"""Contract 4: hits, misses, eviction."""

import asyncio
from typing import Any
from unittest import mock

import pytest

from .helpers import Decorate, Source, begin, identity


async def test_first_call_misses_later_ones_hit(cached: Decorate) -> None:
    function = cached(identity)
    assert [await function(1), await function(1), await function(2)] == [1, 1, 2]
    assert function.cache_info() == (1, 2, 128, 2)


@pytest.mark.parametrize("maxsize", [1, None])
async def test_callers_share_the_work_in_flight(
    source: Source, cached: Decorate, maxsize: Any
) -> None:
    function = cached(maxsize=maxsize)
    callers = await begin(*[function(1) for _ in range(3)])
    assert source.calls == [(1,)]
    assert function.cache_info() == (2, 1, maxsize, 1)
    source.works[0].set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 3


@pytest.mark.parametrize("ttl", [None, 10])
async def test_the_least_recently_used_is_evicted(cached: Decorate, ttl: Any) -> None:
    function = cached(identity, maxsize=2, ttl=ttl)
    for x in 1, 2, 1, 3:
        await function(x)
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]
    assert function.cache_info() == (1, 3, 2, 2)


@pytest.mark.parametrize("maxsize", [1, 10, 1000])
async def test_never_more_than_maxsize(cached: Decorate, maxsize: int) -> None:
    function = cached(identity, maxsize=maxsize)
    for x in range(maxsize + 2):
        await function(x)
        assert function.cache_info().currsize == min(x + 1, maxsize)


async def test_a_hit_on_pending_work_makes_it_the_most_recent(
    source: Source, cached: Decorate
) -> None:
    function = cached(maxsize=2)
    callers = await begin(*[function(x) for x in (1, 2, 1, 3)])
    assert [function.cache_contains(x) for x in (1, 2, 3)] == [True, False, True]
    for work in source.works:
        work.set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 4


async def test_an_evicted_pending_entry_still_serves_its_callers(
    source: Source, cached: Decorate
) -> None:
    function = cached(maxsize=1)
    callers = await begin(*[function(x) for x in (1, 2)])
    assert function.cache_info().currsize == 1
    for work, result in zip(source.works, "ab"):
        work.set_result(result)
    assert await asyncio.gather(*callers) == ["a", "b"]
    assert not function.cache_contains(1)
    assert function.cache_contains(2)


@pytest.mark.parametrize("ttl", [None, 10])
async def test_unbounded_never_evicts(cached: Decorate, ttl: Any) -> None:
    function = cached(identity, maxsize=None, ttl=ttl)
    for x in range(1000):
        await function(x)
    assert await function(0) == 0
    assert function.cache_info() == (1, 1000, None, 1000)


@pytest.mark.parametrize("maxsize", [0, -1])
async def test_maxsize_zero_stores_and_shares_nothing(
    source: Source, cached: Decorate, maxsize: int
) -> None:
    function = cached(maxsize=maxsize, ttl=10)
    callers = await begin(*[function(1) for _ in range(2)])
    assert function.cache_parameters()["tasks"] == 2
    assert not function.cache_contains(1)
    for work, result in zip(source.works, "ab"):
        work.set_result(result)
    assert await asyncio.gather(*callers) == ["a", "b"]
    assert function.cache_info() == (0, 2, 0, 0)


@pytest.mark.parametrize("result", [None, False, 0, "", (), mock.ANY], ids=repr)
@pytest.mark.parametrize("ttl", [None, 10])
async def test_any_result_is_cached(cached: Decorate, result: Any, ttl: Any) -> None:
    async def work() -> Any:
        return result

    function = cached(work, ttl=ttl)
    assert await function() is result
    assert await function() is result
    assert function.cache_info().hits == 1


async def test_wrong_arguments_count_nothing(cached: Decorate) -> None:
    function = cached(identity)
    with pytest.raises(TypeError, match="argument"):
        await function(1, 2)
    with pytest.raises(TypeError, match="argument"):
        await function(y=1)
    assert function.cache_info() == (0, 0, 128, 0)
    assert function.cache_parameters()["tasks"] == 0
