"""Contract 4: recursion goes deep, and work that would wait for itself is refused."""

import asyncio
import sys
import traceback
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import LIMIT, Decorate, Source, begin, run_program, tasks_made_by, turns


async def test_a_call_that_a_close_waits_for_may_not_wait_for_the_closer() -> None:
    closing = asyncio.Event()

    @alru_cache
    async def waits() -> Any:
        await closing.wait()
        return await closes()

    @alru_cache
    async def closes() -> str:
        closing.set()
        await waits.cache_close(wait=True)
        return "closed"

    first = asyncio.ensure_future(waits())
    await turns()
    outcomes: Any = await asyncio.gather(first, closes(), return_exceptions=True)
    assert isinstance(outcomes[0], RuntimeError)
    assert outcomes[1] == "closed"


async def test_recursion_deeper_than_the_interpreters(cached: Decorate) -> None:
    async def count_down(n: int) -> int:
        return 0 if n == 0 else 1 + await again(n - 1)

    again: Any = cached(count_down, maxsize=None)
    depth = sys.getrecursionlimit() * 2
    assert await again(depth) == depth
    assert again.cache_info().misses == depth + 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks_that_run_out_of_stack() -> None:
    """Wherever the stack ends, RecursionError is raised, and nothing is left running."""
    result = run_program(
        """
        import asyncio, logging
        from async_lru import alru_cache
        logging.disable(logging.CRITICAL)

        async def deeper(n, function):
            return await deeper(n - 1, function) if n else await function(5000)

        def trial(shift):
            @alru_cache(maxsize=None)
            async def function(n):
                return 0 if n == 0 else 1 + await function(n - 1)

            async def main():
                asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
                try:
                    await deeper(shift, function)
                except BaseException as error:
                    return type(error).__name__

            found = asyncio.run(main()), function.cache_parameters()["tasks"]
            assert found == ("RecursionError", 0), (shift, found)

        for shift in range(16):
            trial(shift)
        print("survived")
        """,
        dev=False,
    )
    assert (result.returncode, result.stdout) == (0, "survived\n"), result.stderr


@pytest.mark.parametrize("is_eager", [False, True], ids=["", "eager"])
async def test_work_that_awaits_itself(
    cached: Decorate, is_eager: bool, request: pytest.FixtureRequest
) -> None:
    if is_eager:
        factory = request.getfixturevalue("eager")
        asyncio.get_running_loop().set_task_factory(factory)

    async def itself(n: int) -> int:
        return await again(n)  # type: ignore[no-any-return]

    again: Any = cached(itself)
    with pytest.raises(RuntimeError, match="itself"):
        await again(1)
    assert again.cache_info() == (0, 1, 128, 0)
    assert again.cache_parameters()["tasks"] == 0


# A cycle: first(0) awaits second(0), which awaits first(0); or both(0) awaits both(1), which
# awaits both(0).


@pytest.fixture
def cycle(cached: Decorate) -> Any:
    """Functions that wait for one another as long as they are told so."""
    calls: Any = {"closed": True, "gates": []}

    async def wait_for(name: str, x: int) -> int:
        for gate in calls["gates"]:
            await gate.wait()
        return await calls[name](x) if calls["closed"] else x

    async def first(x: int) -> int:
        return await wait_for("second", x)

    async def second(x: int) -> int:
        return await wait_for("first", x)

    async def both(x: int) -> int:
        return await wait_for("both", 1 - x)

    for function in first, second, both:
        calls[function.__name__] = cached(function)
    return calls


async def outcome(awaitable: Any) -> str:
    try:
        return repr(await asyncio.wait_for(awaitable, LIMIT))
    except RuntimeError:
        return "RuntimeError"


async def expect_no_trace(cycle: Any) -> None:
    """Nothing runs, and the next calls with the same keys return."""
    await turns()
    cycle["closed"] = False
    for name in "first", "second", "both":
        assert cycle[name].cache_parameters()["tasks"] == 0
        assert await outcome(cycle[name](0)) == ("1" if name == "both" else "0")


CYCLES = [
    [("first", 0)],
    [("first", 0), ("second", 0)],
    [("second", 0), ("first", 0)],
    [("both", 0)],
    [("both", 0), ("both", 1)],
    [("both", 1), ("both", 0), ("both", 1)],
]


@pytest.mark.parametrize("calls", CYCLES, ids=repr)
@pytest.mark.parametrize("gated", [False, True])
async def test_a_cycle_is_refused(cycle: Any, calls: Any, gated: bool) -> None:
    gate = asyncio.Event()
    if gated:  # all have begun before the first of them waits for another
        cycle["gates"].append(gate)
    callers = await begin(*[outcome(cycle[name](x)) for name, x in calls])
    gate.set()
    assert set(await asyncio.gather(*callers)) == {"RuntimeError"}
    await expect_no_trace(cycle)


async def test_a_cycle_that_is_closed_late(cycle: Any) -> None:
    """The call that closes it is refused, though others have come in between."""
    gate = asyncio.Event()
    cycle["gates"].append(gate)
    callers = await begin(*[outcome(cycle["first"](0)) for _ in range(3)])
    cycle["gates"].clear()
    callers += await begin(outcome(cycle["second"](0)))  # it waits for the first
    assert not any(caller.done() for caller in callers)
    gate.set()
    assert await asyncio.gather(*callers) == ["RuntimeError"] * 4
    await expect_no_trace(cycle)


async def test_a_refused_call_may_take_another_way(cached: Decorate) -> None:
    async def careful(x: int) -> str:
        try:
            return await again(1 - x)  # type: ignore[no-any-return]
        except RuntimeError:
            return f"the other way, from {x}"

    again: Any = cached(careful)
    assert await outcome(again(0)) == "'the other way, from 1'"
    assert again.cache_parameters()["tasks"] == 0


@pytest.mark.parametrize("closes", [False, True])
async def test_tasks_written_in_python(cached: Decorate, closes: bool) -> None:
    """As nest_asyncio makes them: asyncio has a table of its own for them from 3.14 on."""

    @cached
    async def function() -> str:
        await asyncio.sleep(0)
        if closes:
            await function.cache_close()
            return "closed"
        return str(await function())

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        tasks: Any = asyncio.tasks
        return getattr(tasks, "_PyTask", asyncio.Task)(coroutine, loop=loop, **options)

    with tasks_made_by(factory):
        ended = await outcome(function())
    assert ended == ("'closed'" if closes else "RuntimeError")


async def test_a_tree_is_no_cycle(cached: Decorate) -> None:
    """Several calls may wait for one, and one for several."""

    async def tree(x: int) -> int:
        if x >= 4:
            return x
        left: int = await again(x + 1)
        right: int = await again(x + 2)
        return left + right

    again: Any = cached(tree)
    assert await asyncio.gather(*[again(x) for x in (0, 1, 2, 3)]) == [35, 22, 13, 9]


async def test_a_call_that_has_given_up_waiting_is_in_no_cycle(
    source: Source, cached: Decorate
) -> None:
    tasks: List[Any] = []

    async def first() -> str:
        tasks.append(asyncio.current_task())
        try:
            return await two()  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            await source.fetch("going on")
            return "left"

    async def second() -> str:
        await source.fetch("second")
        return await one()  # type: ignore[no-any-return]

    one: Any = cached(first)
    two: Any = cached(second)
    callers = await begin(two(), one())
    tasks[0].cancel()
    await turns()
    source.works[0].set_result(None)  # now the second call waits for the first
    await turns()
    assert source.calls == [("second",), ("going on",)]
    source.works[1].set_result(None)
    assert await asyncio.gather(*callers) == ["left", "left"]


def test_the_traceback_of_the_error_leads_through_the_cycle() -> None:
    async def f() -> None:
        await cached_g()

    async def g() -> None:
        await cached_f()

    cached_f: Any = alru_cache(f)
    cached_g: Any = alru_cache(g)
    with pytest.raises(RuntimeError) as caught:
        asyncio.run(cached_f())
    assert str(caught.value) == f"{g.__qualname__} would wait for its own result"
    lines = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert [name for name in lines if name in ("f", "g")] == ["f", "g"]
