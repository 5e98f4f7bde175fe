"""How cost grows when what there is doubles: ``make growth``, a minute or two.

    python -m benchmarks.growth [WORD ...]

Each row is one kind of step, at four sizes, each twice the one before. With words, only the
rows that contain them are measured. The last column says how the time grows with the size: as
n^0 if it does not depend on the size, as n^1 if it is linear. A row that grows faster than
contract 13 allows, by more than the processor's caches explain, says so, and the exit status
is 1.

Each figure is the best of several rounds, in milliseconds of the processor's time.
"""

import asyncio
import contextlib
import gc
import math
import random
import sys
import time
from typing import Any, Awaitable, Callable, Dict, Iterator, List, Tuple

from async_lru import alru_cache

DOUBLINGS = 3
ROUNDS = 5
# By how much the power may exceed what is allowed: what outgrows the processor's caches is
# slower, a heap is not quite linear, and some steps are short.
MARGIN = 0.35

Case = Callable[[int], Awaitable[float]]


class Stopwatch:
    seconds = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds += time.process_time() - start


async def identity(x: Any) -> Any:
    return x


async def forever(x: Any) -> None:
    await asyncio.Event().wait()


class Thing:
    @alru_cache(maxsize=None, per_instance=True)
    async def method(self, x: int) -> int:
        return x


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def begin(calls: List[Any]) -> List["asyncio.Task[Any]"]:
    tasks = [asyncio.ensure_future(call) for call in calls]
    await turns()
    return tasks


async def end(tasks: List["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def filled(n: int, **options: Any) -> Any:
    function: Any = alru_cache(maxsize=None, **options)(identity)
    for x in range(n):
        await function(x)
    return function


async def hit(function: Any, watch: Stopwatch, times: int = 1000) -> None:
    await function(0)
    with watch.running():
        for _ in range(times):
            await function(0)


async def miss(function: Any, watch: Stopwatch, times: int = 200) -> None:
    with watch.running():
        for x in range(times):
            await function(-x - 1)


# Steps whose cost is not to depend on the size


async def hits_beside_entries(n: int, watch: Stopwatch) -> None:
    await hit(await filled(n), watch)


async def hits_beside_entries_with_ttl(n: int, watch: Stopwatch) -> None:
    await hit(await filled(n, ttl=1000), watch)


def in_other_loops(n: int, function: Any) -> List[asyncio.AbstractEventLoop]:
    loops = [asyncio.new_event_loop() for _ in range(n)]
    for loop in loops:
        loop.run_until_complete(function(0))
    return loops


async def hits_beside_loops(n: int, watch: Stopwatch) -> None:
    function: Any = alru_cache(maxsize=None)(identity)
    loops = await asyncio.get_running_loop().run_in_executor(None, in_other_loops, n, function)
    await hit(function, watch)
    for loop in loops:
        loop.close()


async def things(n: int) -> List[Thing]:
    made = [Thing() for _ in range(n)]
    for thing in made:
        await thing.method(0)
    return made


async def hits_beside_instances(n: int, watch: Stopwatch) -> None:
    made = await things(n)
    await hit(made[0].method, watch)


async def first_calls_beside_instances(n: int, watch: Stopwatch) -> None:
    made = await things(n)
    others = [Thing() for _ in range(200)]
    with watch.running():
        for thing in others:
            await thing.method(0)
    assert len(made) == n


async def joins_beside_waiters(n: int, watch: Stopwatch) -> None:
    function: Any = alru_cache(forever)
    tasks = await begin([function(0) for _ in range(n)])
    with watch.running():
        others = await begin([function(0) for _ in range(200)])
    await end(tasks + others)


def chain() -> Tuple[Any, asyncio.Event]:
    """A function of which n awaits n - 1, down to 0, which waits for an event."""
    gate = asyncio.Event()

    async def work(n: int) -> int:
        if n:
            below: int = await cached(n - 1)
            return below + 1
        await gate.wait()
        return 0

    cached: Any = alru_cache(maxsize=None)(work)
    return cached, gate


async def joins_of_the_head_of_a_chain(n: int, watch: Stopwatch) -> None:
    function, gate = chain()
    head = asyncio.ensure_future(function(n))
    await turns(3 * n)
    with watch.running():
        others = await begin([function(n) for _ in range(200)])
    gate.set()
    assert await asyncio.gather(head, *others) == [n] * 201


async def calls_that_join_the_head_of_a_chain(n: int, watch: Stopwatch) -> None:
    function, gate = chain()

    @alru_cache(maxsize=None)
    async def joins(caller: int, depth: int) -> int:  # which a call awaits
        below: int = await (joins(caller, depth - 1) if depth else function(n))
        return below

    head = asyncio.ensure_future(function(n))
    await turns(3 * n)
    with watch.running():
        others = await begin([joins(caller, 1) for caller in range(200)])
    gate.set()
    assert await asyncio.gather(head, *others) == [n] * 201


async def misses_after_invalidations(n: int, watch: Stopwatch) -> None:
    function = await filled(n)
    for x in range(n):
        function.cache_invalidate(x)
    await turns()
    await miss(function, watch)


async def misses_after_cancelled_calls(n: int, watch: Stopwatch) -> None:
    async def work(x: int) -> int:
        if x >= 0:
            await forever(x)
        return x

    function: Any = alru_cache(maxsize=None)(work)
    await end(await begin([function(x) for x in range(n)]))
    await turns()
    await miss(function, watch)


async def looks_after_cancelled_calls(n: int, watch: Stopwatch) -> None:
    function: Any = alru_cache(maxsize=None)(forever)
    tasks = await begin([function(x) for x in range(n)])
    kept = tasks.pop()
    await end(tasks)
    await turns()
    with watch.running():
        for _ in range(200):
            assert function.cache_parameters()["tasks"] == 1
    await end([kept])


async def misses_after_instances_are_freed(n: int, watch: Stopwatch) -> None:
    await things(n)
    await turns()
    others = [Thing() for _ in range(200)]
    with watch.running():
        for thing in others:
            await thing.method(0)


async def looks_after_instances_are_freed(n: int, watch: Stopwatch) -> None:
    kept = await things(1)
    await things(n)
    with watch.running():
        for _ in range(200):
            assert Thing.method.cache_info().currsize == len(kept)


# Steps whose cost is to be linear


async def a_chain(n: int, watch: Stopwatch) -> None:
    function, gate = chain()
    with watch.running():
        head = asyncio.ensure_future(function(n))
        await turns(3 * n)
        gate.set()
        assert await head == n


async def callers_of_one_call(n: int, watch: Stopwatch) -> None:
    function: Any = alru_cache(maxsize=None)(turns)
    with watch.running():
        await asyncio.gather(*[function(10) for _ in range(n)])


async def callers_cancelled(n: int, watch: Stopwatch) -> None:
    function: Any = alru_cache(maxsize=None)(forever)
    tasks = await begin([function(0) for _ in range(n)])
    with watch.running():
        await end(tasks)


async def closing(n: int, watch: Stopwatch) -> None:
    function: Any = alru_cache(maxsize=None)(forever)
    tasks = await begin([function(x) for x in range(n)])
    with watch.running():
        await function.cache_close()
        await turns()
    assert all(task.cancelled() for task in tasks)


async def closing_from_a_call(n: int, watch: Stopwatch) -> None:
    """The calls that wait for the one that closes are looked for along their chains."""
    gate = asyncio.Event()

    async def work(x: int) -> Any:
        await (closes() if x == 0 else chained(x - 1))

    async def close() -> None:
        await gate.wait()
        await chained.cache_close(wait=True)

    closes: Any = alru_cache(close)
    chained: Any = alru_cache(maxsize=None)(work)
    head = asyncio.ensure_future(chained(n))
    await turns(3 * n)
    with watch.running():
        gate.set()
        await head


async def clearing(n: int, watch: Stopwatch) -> None:
    function = await filled(n, ttl=1000)
    with watch.running():
        function.cache_clear()
        await turns()


async def invalidate_each(n: int, watch: Stopwatch, order: Any, *, look: bool) -> None:
    function = await filled(n, ttl=1000)
    keys = order(range(n))
    with watch.running():
        for x in keys:
            assert function.cache_invalidate(x)
            if look:
                function.cache_info()
        await turns()
    assert function.cache_info().currsize == 0


async def invalidations(n: int, watch: Stopwatch) -> None:
    await invalidate_each(n, watch, list, look=True)


async def invalidations_from_the_last(n: int, watch: Stopwatch) -> None:
    await invalidate_each(n, watch, reversed, look=True)


async def invalidations_in_any_order(n: int, watch: Stopwatch) -> None:
    await invalidate_each(n, watch, lambda keys: random.sample(keys, n), look=False)


async def invalidations_and_misses(n: int, watch: Stopwatch) -> None:
    function = await filled(n, ttl=1000)
    with watch.running():
        for x in range(n):
            function.cache_invalidate(x)
            await function(x)


async def expiring(n: int, watch: Stopwatch) -> None:
    until = time.monotonic() + 1 + n / 10_000
    function: Any = alru_cache(maxsize=None, ttl=lambda _: until - time.monotonic())(identity)
    for x in range(n):
        await function(x)
    time.sleep(until - time.monotonic())  # noqa: ASYNC251  # the loop is to be late
    with watch.running():
        while function.cache_info().currsize:
            await turns()


async def loops_one_after_another(n: int, watch: Stopwatch) -> None:
    function: Any = alru_cache(maxsize=None)(identity)

    def run() -> None:
        for _ in range(n):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(function(0))
            loop.run_until_complete(function.cache_close())
            loop.close()

    with watch.running():
        await asyncio.get_running_loop().run_in_executor(None, run)


# By step: how, from which size on, and the power of n that it may grow as.
ROWS: Dict[str, Tuple[Any, int, int]] = {
    "1000 hits beside n entries": (hits_beside_entries, 10_000, 0),
    "1000 hits beside n entries with ttl": (hits_beside_entries_with_ttl, 10_000, 0),
    "1000 hits beside n loops": (hits_beside_loops, 20, 0),
    "1000 hits beside n instances": (hits_beside_instances, 2000, 0),
    "200 first calls of instances beside n": (first_calls_beside_instances, 2000, 0),
    "200 joins beside n that wait": (joins_beside_waiters, 1000, 0),
    "200 joins of the head of a chain of n": (joins_of_the_head_of_a_chain, 200, 0),
    "200 calls that join the head of a chain of n": (
        calls_that_join_the_head_of_a_chain,
        200,
        0,
    ),
    "200 misses after n invalidations": (misses_after_invalidations, 10_000, 0),
    "200 misses after n cancelled calls": (misses_after_cancelled_calls, 2000, 0),
    "200 cache_parameters() after n cancelled calls": (looks_after_cancelled_calls, 2000, 0),
    "200 first calls after n instances were freed": (
        misses_after_instances_are_freed,
        2000,
        0,
    ),
    "200 cache_info() after n instances were freed": (
        looks_after_instances_are_freed,
        5000,
        0,
    ),
    "a chain of n calls that wait for one another": (a_chain, 200, 1),
    "n callers of one call": (callers_of_one_call, 1000, 1),
    "n callers of one call, all cancelled": (callers_cancelled, 1000, 1),
    "closing with n calls in flight": (closing, 500, 1),
    "closing from the end of a chain of n calls": (closing_from_a_call, 100, 1),
    "a clear of n results with ttl": (clearing, 5000, 1),
    "n invalidations, cache_info() after each": (invalidations, 1000, 1),
    "the same, from the last one back": (invalidations_from_the_last, 1000, 1),
    "n invalidations in any order": (invalidations_in_any_order, 5000, 1),
    "n invalidations, a miss after each": (invalidations_and_misses, 1000, 1),
    "n results that expire at one moment": (expiring, 2500, 1),
    "n loops, one after another, each closed": (loops_one_after_another, 25, 1),
}


def measured(case: Any, sizes: List[int]) -> List[float]:
    """The best time at each size, in milliseconds."""
    best = [math.inf] * len(sizes)
    for _ in range(ROUNDS):
        for k, n in enumerate(sizes):
            watch = Stopwatch()
            gc.collect()
            gc.disable()  # it would walk all that there is
            asyncio.run(case(n, watch))
            gc.enable()
            best[k] = min(best[k], 1000 * watch.seconds)
    return best


def main(words: List[str]) -> int:
    rows = {row: of for row, of in ROWS.items() if all(word in row for word in words)}
    wide = max(map(len, rows))
    factors = [2**k for k in range(DOUBLINGS + 1)]
    titles = [f"at {factor}n" for factor in factors]
    print(
        f"{'milliseconds':{wide}} {'n':>6}", *[f"{title:>8}" for title in titles], " grows as"
    )
    worse = 0
    for row, (case, n, power) in rows.items():
        times = measured(case, [n * factor for factor in factors])
        growth = math.log2(times[-1] / times[0]) / DOUBLINGS
        exceeds = growth > power + MARGIN
        worse += exceeds
        verdict = f", and is to grow as n^{power}" * exceeds
        print(f"{row:{wide}} {n:6}", *[f"{ms:8.2f}" for ms in times], end="", flush=True)
        print(f"  n^{growth:.2f}{verdict}", flush=True)
    return int(worse > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
