"""Contract 8: a key that cannot be compared amid a step empties its cache at worst.

Who calls gets what their own key raises. Where nobody has called, or another's key is to
blame, the loop's exception handler is told.
"""

import asyncio
import contextlib
import sys
from typing import Any, AsyncIterator, List

import pytest

from async_lru import alru_cache

from .helpers import FREE_THREADED, PYPY, Decorate, turns

NOT_FREE_THREADED = pytest.mark.skipif(
    FREE_THREADED, reason="there OrderedDict.pop unlocks twice if a comparison raises: a crash"
)


class Key:
    """All are in one place of the table; the comparison that is counted down to raises."""

    comparisons = 0
    at_last: Any = None

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        Key.comparisons -= 1
        if Key.comparisons == 0:
            Key.at_last()
            raise ZeroDivisionError
        return isinstance(other, Key) and self.number == other.number


def raises_at(comparison: int, at_last: Any = int) -> None:
    Key.comparisons, Key.at_last = comparison, at_last


def again() -> None:
    """At last: from here on, each comparison raises."""
    raises_at(1, again)


def no_more() -> None:
    """The comparison has raised, or has not been reached."""
    Key.comparisons = 0


@NOT_FREE_THREADED
@pytest.mark.parametrize("ttl", [None, 1000, lambda _: 1000])
@pytest.mark.parametrize("ending", ["result", "failure"])
@pytest.mark.parametrize("during", range(1, 20))
@pytest.mark.parametrize("clears", [False, True])
async def test_it_keeps_serving(ttl: Any, ending: str, during: int, clears: bool) -> None:
    @alru_cache(maxsize=2, ttl=ttl)
    async def number(key: Key) -> int:
        await asyncio.sleep(0)
        if ending == "failure" and key.number == 3:
            raise ValueError
        return key.number

    for one in 1, 2, 1:
        await number(Key(one))
    raises_at(during, number.cache_clear if clears else int)
    with contextlib.suppress(ZeroDivisionError, ValueError):
        await number(Key(3))
    no_more()
    for _ in range(2):
        for one in 4, 2, 1, 2:
            assert await number(Key(one)) == one
    info = number.cache_info()
    assert info.currsize <= 2
    assert number.cache_invalidate(Key(2))
    assert not number.cache_contains(Key(2))
    assert number.cache_info().currsize == info.currsize - 1
    assert number.cache_parameters()["tasks"] == 0
    number.cache_clear()  # and its timer with it, where there are no reference counts


async def number_of(key: Key) -> int:
    return key.number


@pytest.fixture
async def told() -> AsyncIterator[List[str]]:
    """What the loop's exception handler is told."""
    told: List[str] = []

    def tell(_: Any, context: Any) -> None:
        assert isinstance(context["exception"], ZeroDivisionError)
        told.append(context["message"])

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(tell)
    yield told
    loop.set_exception_handler(None)
    no_more()


async def test_as_its_caller_leaves(told: List[str], cached: Decorate) -> None:
    """That takes no cancellation away; the other callers go on."""
    gate = asyncio.Event()

    async def wait(key: Key) -> int:
        await gate.wait()
        return key.number

    function = cached(wait)
    stays, leaves = (asyncio.ensure_future(function(Key(one))) for one in (1, 2))
    await turns()
    raises_at(1)
    leaves.cancel()
    await asyncio.wait([leaves])
    assert leaves.cancelled()
    assert len(told) == 1
    assert "wait" in told[0]
    await turns()
    assert function.cache_parameters()["tasks"] == 1
    gate.set()
    assert await stays == 1
    assert function.cache_info() == (0, 0, 128, 0)
    assert [await function(Key(2)) for _ in range(2)] == [2, 2]


async def test_as_its_call_fails(told: List[str], cached: Decorate) -> None:
    """The callers get the failure, and the entry is gone."""
    gates = {1: asyncio.Event(), 2: asyncio.Event()}

    async def fail(number: int) -> None:
        await gates[number].wait()
        raises_at(1)
        raise ValueError(number)

    function = cached(fail, key=Key)
    first, *others = (asyncio.ensure_future(function(number)) for number in (1, 2, 2))
    await turns()
    gates[2].set()
    await asyncio.wait(others)
    assert [type(other.exception()) for other in others] == [ValueError] * 2
    assert len(told) == 1
    assert function.cache_info() == (0, 0, 128, 0)
    assert not function.cache_contains(2)
    gates[1].set()
    await asyncio.wait([first])
    assert isinstance(first.exception(), ValueError)


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_as_the_callers_of_a_cleared_cache_leave(
    told: List[str], cached: Decorate, how: str
) -> None:
    """All that they have left is cancelled, whichever key raises."""
    cancelled: List[int] = []

    async def work(key: Key) -> int:
        if key.number < 3:
            try:
                await asyncio.sleep(1000)
            finally:
                cancelled.append(key.number)
        return key.number

    function = cached(work)
    callers = [function(Key(1)), function(Key(2))]
    if how == "cancelled":
        callers = [asyncio.ensure_future(caller) for caller in callers]
    else:
        for caller in callers:
            caller.send(None)
    await turns()
    function.cache_clear()
    await function(Key(3))
    raises_at(1)
    for caller in callers:
        _ = caller.cancel() if how == "cancelled" else caller.close()
    await turns()
    assert cancelled == [1, 2]
    assert function.cache_parameters()["tasks"] == 0
    assert len(told) == 1


@NOT_FREE_THREADED
@pytest.mark.parametrize("due", [False, True])
@pytest.mark.parametrize("at_last", [int, again])
async def test_as_another_calls(
    told: List[str], cached: Decorate, due: bool, at_last: Any
) -> None:
    """Who has only come by gets a result, and so do those who wait for another."""
    gate = asyncio.Event()

    async def work(number: Any) -> Any:
        if number == 6:
            await gate.wait()
        return number

    function = cached(work, **({"ttl": 1000, "refresh": 0} if due else {}))
    for number in 1, 2:
        await function(Key(number))
    function.cache_invalidate(Key(2))
    raises_at(1, at_last)
    assert await function(5) == 5
    assert len(told) == 1
    no_more()
    for number in 1, 2:
        await function(Key(number))
    caller = asyncio.ensure_future(function(6))
    await turns()
    gate.set()
    function.cache_invalidate(Key(2))
    raises_at(1, at_last)
    assert await caller == 6
    assert len(told) == 2


@pytest.mark.parametrize("during", range(1, 8))
async def test_what_is_due(told: List[str], cached: Decorate, during: int) -> None:
    """A refresh that has been started is cancelled when it is cleared."""
    running: List[int] = []
    refreshing = False

    async def work(key: Key) -> int:
        if refreshing:
            running.append(key.number)
            try:
                await asyncio.sleep(1000)
            finally:
                running.remove(key.number)
        return key.number

    function = cached(work, maxsize=4, ttl=1000, refresh=0)
    for number in 1, 2, 3:
        await function(Key(number))
    refreshing = True
    before = function.cache_info()
    raises_at(during)
    try:
        assert await function(Key(2)) == 2
    except ZeroDivisionError:
        assert function.cache_info() == before
    no_more()
    await turns()
    function.cache_clear()
    await turns()
    assert running == []
    assert function.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("options", [{}, {"ttl": 1000}])
@pytest.mark.parametrize("during", range(1, 5))
async def test_a_hit(cached: Decorate, options: Any, during: int) -> None:
    """If it raises, it is none."""
    function = cached(number_of, **options)
    for number in 1, 2:
        await function(Key(number))
    raises_at(during)
    try:
        hit = await function(Key(2)) == 2
    except ZeroDivisionError:
        hit = False
    no_more()
    assert function.cache_info() == (int(hit), 2, 128, 2)


@pytest.mark.parametrize("during", range(1, 5))
async def test_who_has_not_joined_does_not_wait(cached: Decorate, during: int) -> None:
    """No circle is seen where there is none."""
    gate = asyncio.Event()
    raised: List[bool] = []

    async def first(key: Key) -> Any:
        if key.number == 2:
            await gate.wait()
            return await another()
        return key.number

    async def second() -> str:
        raises_at(during)
        try:
            await function(Key(2))
        except ZeroDivisionError:
            raised.append(True)
        no_more()
        gate.set()
        await turns()
        return "second"

    function, another = cached(first), cached(second)
    await function(Key(1))
    caller = asyncio.ensure_future(function(Key(2)))
    await turns()
    timer = asyncio.get_running_loop().call_later(0.1, gate.set)
    outcomes: Any = await asyncio.gather(caller, another(), return_exceptions=True)
    timer.cancel()
    assert raised or PYPY
    if raised:
        assert list(outcomes) == ["second", "second"]


@pytest.mark.parametrize("how", ["closed", "thrown into"])
def test_as_a_caller_leaves_a_loop_that_does_not_run(how: str) -> None:
    cancelled: List[int] = []
    told: List[str] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))

    @alru_cache
    async def work(key: Key) -> None:
        if key.number == 1:
            try:
                await asyncio.sleep(1000)
            finally:
                cancelled.append(1)

    async def begin() -> Any:
        await work(Key(2))
        caller: Any = work(Key(1))
        caller.send(None)
        await turns()
        return caller

    caller = loop.run_until_complete(begin())
    raises_at(1)
    if how == "closed":
        caller.close()
    else:
        with pytest.raises(LookupError, match="mine"):
            caller.throw(LookupError("mine"))
    no_more()
    loop.run_until_complete(turns())
    assert cancelled == [1]
    assert len(told) == 1
    loop.run_until_complete(work.cache_close())
    loop.close()


@NOT_FREE_THREADED
async def test_what_is_to_end_the_program(cached: Decorate) -> None:
    """Whoever is there is told."""
    function = cached(number_of)
    for number in 1, 2:
        await function(Key(number))
    function.cache_invalidate(Key(2))
    raises_at(1, sys.exit)
    with pytest.raises(SystemExit):
        await function(5)
    assert function.cache_info() == (0, 0, 128, 0)
    assert await function(Key(5)) == 5
