"""The operations of the model, without letting anything settle in between."""

import asyncio
import gc
import random
import weakref
from typing import Any, List

import pytest

from async_lru import alru_cache

from .helpers import THOROUGH, ClockLoop, clock_loop, timers, turns

SEEDS = 2000 if THOROUGH else 600
BATCH = SEEDS // 4


class Result:
    """The result for a key. Weak references tell when it is freed."""

    def __init__(self, key: int) -> None:
        self.key = key


async def play(  # noqa: C901, PLR0915  # a game has many moves
    seed: int, loop: ClockLoop, results: "weakref.WeakSet[Result]"
) -> None:
    chance = random.Random(seed)
    maxsize = chance.choice([0, 1, 2, 3, None])
    works: List["asyncio.Future[None]"] = []
    keys: List[int] = []  # of the runs
    callers: List["asyncio.Future[None]"] = []
    tasks = set()

    @alru_cache(maxsize=maxsize, ttl=chance.choice([None, 5]))
    async def function(key: int) -> Result:
        tasks.add(asyncio.current_task())
        work: "asyncio.Future[None]" = loop.create_future()
        works.append(work)
        keys.append(key)
        try:
            await work
        except asyncio.CancelledError:
            for _ in range(chance.randrange(3)):  # cleaning up takes a while
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                raise ValueError(key) from None
            if chance.random() < 0.8:
                raise
        result = Result(key)
        results.add(result)
        return result

    async def caller(key: int) -> None:
        try:
            result = await function(key)
        except ValueError as error:
            assert error.args == (key,)  # noqa: PT017
        else:
            assert result.key == key

    def end_work() -> None:
        for number in chance.sample(range(len(works)), min(len(works), 2)):
            if works[number].done():
                continue
            if chance.random() < 0.3:
                works[number].set_exception(ValueError(keys[number]))
            else:
                works[number].set_result(None)

    def cancel_something() -> None:
        candidates: List[Any] = chance.choice([callers, list(tasks), works])
        if candidates:
            chance.choice(candidates).cancel()

    def drop_something() -> None:
        if chance.random() < 0.8:
            function.cache_invalidate(chance.randrange(3))
        else:
            function.cache_clear()

    def advance() -> None:
        loop.now += chance.choice([1, 5])

    operations = [end_work, cancel_something, drop_something, advance]
    for _ in range(30):
        if chance.random() < 0.5:
            callers.append(loop.create_task(caller(chance.randrange(3))))
        else:
            chance.choice(operations)()
        if maxsize is not None:
            assert function.cache_info().currsize <= maxsize
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
    close = loop.create_task(function.cache_close(wait=chance.random() < 0.5))
    for _ in range(20):
        await turns()
        for work in works:
            if not work.done():
                work.set_result(None)
    assert close.done()
    close.result()
    for done in callers:
        assert done.done()
        if not done.cancelled():
            done.result()
    assert function.cache_parameters()["tasks"] == 0
    assert timers(loop) == []


@pytest.mark.parametrize("batch", range(SEEDS // BATCH))
def test_every_interleaving(batch: int) -> None:
    with clock_loop() as loop:
        loop.set_exception_handler(lambda *_: None)  # failures that no caller receives
        results: "weakref.WeakSet[Result]" = weakref.WeakSet()
        for seed in range(batch * BATCH, (batch + 1) * BATCH):
            loop.run_until_complete(play(seed, loop, results))
            assert asyncio.all_tasks(loop) == set()
        for _ in range(20):  # PyPy frees what refers to one another layer by layer
            if results:
                gc.collect()
        assert len(results) == 0
