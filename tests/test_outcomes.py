"""Contract 5: an outcome belongs to its own entry."""

import asyncio
from typing import Any, List, Optional
from unittest import mock

import pytest

from async_lru import alru_cache

from .helpers import Decorate, Source, begin, clock_loop, timers, turns


def let_go(function: Any, how: str) -> None:
    """Take the pending entry of key 1 out of the cache, in one of the three ways."""
    if how == "invalidate":
        assert function.cache_invalidate(1)
    elif how == "clear":
        function.cache_clear()


@pytest.mark.parametrize("ttl", [None, 10])
@pytest.mark.parametrize("outcome", ["succeeds", "fails", "is cancelled"])
@pytest.mark.parametrize("how", ["invalidate", "clear", "evict"])
@pytest.mark.parametrize("new_is_settled", [False, True])
async def test_old_work_never_touches_the_new_entry(
    source: Source,
    cached: Decorate,
    ttl: Optional[float],
    outcome: str,
    how: str,
    new_is_settled: bool,
) -> None:
    function = cached(maxsize=1, ttl=ttl)
    loop = asyncio.get_running_loop()
    (old,) = await begin(function(1))
    before = asyncio.all_tasks()
    other = None
    if how == "evict":
        (other,) = await begin(function(2))
    let_go(function, how)
    (new,) = await begin(function(1))
    assert before < asyncio.all_tasks()
    new_work = source.works[-1]
    if new_is_settled:
        new_work.set_result("new")
        await turns()
    scheduled = timers(loop)
    info = function.cache_info()

    old_work = source.works[0]
    if outcome == "succeeds":
        old_work.set_result("old")
        assert await old == "old"
    elif outcome == "fails":
        old_work.set_exception(ValueError("old"))
        with pytest.raises(ValueError, match="old"):
            await old
    else:
        old_work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await old
    await turns()

    assert function.cache_contains(1)
    assert function.cache_info() == info
    assert timers(loop) == scheduled
    if not new_is_settled:
        new_work.set_result("new")
    assert await new == "new"
    assert await function(1) == "new"
    assert len(timers(loop)) == (ttl is not None)
    if other is not None:
        source.works[1].set_result("other")
        assert await other == "other"
        assert function.cache_contains(1)


@pytest.mark.parametrize("outcome", ["succeeds", "fails", "is cancelled", "is left"])
async def test_nor_a_result_that_is_equal_to_everything(
    source: Source, cached: Decorate, outcome: str
) -> None:
    """Its key is None, which the removed entry has in place of its own key."""
    function = cached(key=lambda x: None)
    (old,) = await begin(function(1))
    function.cache_invalidate(1)
    (new,) = await begin(function(1))
    source.works[1].set_result(mock.ANY)
    assert await new is mock.ANY
    if outcome == "succeeds":
        source.works[0].set_result("old")
    elif outcome == "fails":
        source.works[0].set_exception(ValueError("old"))
    elif outcome == "is cancelled":
        source.works[0].cancel()
    else:
        old.cancel()
    await asyncio.wait([old])
    assert old.cancelled() or old.exception() or old.result() == "old"
    assert await function(1) is mock.ANY
    assert len(source.works) == 2


async def test_the_last_caller_of_old_work_cancels_only_that(
    source: Source, cached: Decorate
) -> None:
    function = cached()
    (old,) = await begin(function(1))
    function.cache_invalidate(1)
    (new,) = await begin(function(1))
    old.cancel()
    await turns()
    assert source.works[0].cancelled()
    assert function.cache_contains(1)
    source.works[1].set_result("new")
    assert await new == "new"


async def test_an_evicted_call_removes_no_other_entry(
    source: Source, cached: Decorate
) -> None:
    """The other key is None, which the removed entry has in place of its own key."""
    function = cached(maxsize=1, key=lambda x: x)
    (old,) = await begin(function(1))
    (new,) = await begin(function(None))
    old.cancel()
    await turns()
    assert source.works[0].cancelled()
    source.works[1].set_result("x")
    assert await new == "x"
    assert function.cache_contains(None)


def test_old_expiry_never_touches_the_new_entry() -> None:
    versions: List[int] = []

    async def work() -> int:
        versions.append(len(versions))
        return versions[-1]

    function: Any = alru_cache(ttl=5)(work)
    with clock_loop() as loop:

        async def main() -> None:
            assert await function() == 0
            loop.now += 3
            function.cache_invalidate()
            assert await function() == 1
            loop.now += 3  # the first would have expired by now
            await turns()
            assert await function() == 1
            loop.now += 3  # and now the second has
            assert await function() == 2
            await function.cache_close()

        loop.run_until_complete(main())
