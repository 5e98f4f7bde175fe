"""Traffic on one function for a while: ``make soak``, two minutes; its short form is a test.

Clients call by Zipf-distributed keys, give up early now and then, meet failures, and
invalidate; results expire. All along memory stays flat, there are no more timers than entries,
and the counters add up.
"""

import argparse
import asyncio
import gc
import random
import time
from itertools import accumulate
from typing import Any, Callable, List

from async_lru import alru_cache

from .helpers import PYPY, collect

if not PYPY:  # it has none
    import tracemalloc

KEYS = 10_000
MAXSIZE = 1000
CLIENTS = 100


class Traffic:
    """The function under test, its clients, and what they count."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.weights = list(accumulate(1 / rank for rank in range(1, KEYS + 1)))
        self.calls = 0
        self.works = 0
        self.function: Any = alru_cache(maxsize=MAXSIZE, ttl=0.5, jitter=0.5)(self.fetch)

    async def fetch(self, key: int) -> bytes:
        self.works += 1
        await asyncio.sleep(self.chance.random() * 0.002)
        if self.chance.random() < 0.05:
            raise ConnectionError(key)
        return key.to_bytes(100, "big")

    async def client(self, until: float) -> None:
        while time.monotonic() < until:
            (key,) = self.chance.choices(range(KEYS), cum_weights=self.weights)
            what = self.chance.random()
            if what < 0.005:
                self.function.cache_invalidate(key)
            self.calls += 1
            try:
                if what < 0.05:
                    result = await asyncio.wait_for(self.function(key), 0.001)
                else:
                    result = await self.function(key)
            except ConnectionError as error:
                assert error.args == (key,)  # noqa: PT017
            except asyncio.TimeoutError:
                pass
            else:
                assert result == key.to_bytes(100, "big")
            if self.chance.random() < 0.1:
                await asyncio.sleep(0)

    def check(self) -> None:
        """What holds at any moment."""
        info = self.function.cache_info()
        assert info.currsize <= MAXSIZE
        assert info.misses >= self.works
        assert info.hits + info.misses <= self.calls
        loop: Any = asyncio.get_running_loop()
        ours = [timer for timer in loop._scheduled if "_expiry.py" in repr(timer)]
        assert sum(not timer.cancelled() for timer in ours) <= 1


def in_use() -> int:
    """Of memory, after a look for what may go: on PyPy all, elsewhere what is traced."""
    gc.collect()
    collect()
    if PYPY:
        statistics: Any = gc.get_stats()
        used: int = statistics._s.total_gc_memory
        return used
    return tracemalloc.get_traced_memory()[0]


async def soak(seconds: float, tell: Callable[[str], None], seed: int = 0) -> int:
    """Run for so long, saying how it goes once a second; return the number of calls."""
    traffic = Traffic(seed)
    start = time.monotonic()
    if not PYPY:
        tracemalloc.start()
    clients = [asyncio.ensure_future(traffic.client(start + seconds)) for _ in range(CLIENTS)]
    memory: List[int] = []
    while not all(client.done() for client in clients):
        await asyncio.sleep(min(1, seconds / 4))
        traffic.check()
        memory.append(in_use())
        tell(f"{traffic.calls:,} calls, {memory[-1] / 1e6:.1f} MB")
    if not PYPY:
        tracemalloc.stop()
    for client in clients:
        client.result()
    half = len(memory) // 2
    assert max(memory[half:]) < 1.25 * max(memory[: half + 1])
    info = traffic.function.cache_info()
    # wait_for() may give up on a call before it has begun.
    assert traffic.calls * 0.99 <= info.hits + info.misses <= traffic.calls
    await traffic.function.cache_close(wait=True)
    assert traffic.function.cache_parameters()["tasks"] == 0
    assert traffic.works <= info.misses
    return traffic.calls


def main() -> None:
    from tqdm import tqdm  # noqa: PLC0415  # only here: the suite does without

    parser = argparse.ArgumentParser(description="Traffic on one function for a while.")
    parser.add_argument("--seconds", type=float, default=120)
    seconds = parser.parse_args().seconds
    with tqdm(total=seconds, unit="s", bar_format="{l_bar}{bar}| {n:.0f} s {postfix}") as bar:
        start = time.monotonic()

        def tell(status: str) -> None:
            bar.set_postfix_str(status, refresh=False)
            bar.update(min(time.monotonic() - start, seconds) - bar.n)

        calls = asyncio.run(soak(seconds, tell))
    print(f"{calls:,} calls; memory flat, timers bounded, counters right")


if __name__ == "__main__":
    main()
