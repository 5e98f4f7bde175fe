"""Beside async-lru 2.4.0 where that runs: sizes, loops, a Zipf workload, garbage collection.

    python -m benchmarks.more [--loops]

The loops are compared on PyPy as well, where there is a pypy3.
"""

import argparse
import asyncio
import gc
import importlib
import platform
import random
import shutil
import statistics
import subprocess
import time
from itertools import accumulate
from typing import Any, Callable, Dict, List

import async_lru

from .peers import NAMESAKE, OURS, PEERS, ROOT, identity, load

ROUNDS = 25


async def calls(function: Any, keys: List[Any]) -> None:
    for key in keys:
        await function(key)


def nanoseconds(loop: Any, function: Any, keys: List[Any]) -> float:
    start = time.perf_counter_ns()
    loop.run_until_complete(calls(function, keys))
    return (time.perf_counter_ns() - start) / len(keys)


def rate(loop: Any, function: Any, keys: List[Any]) -> float:
    """A call in multiples of a bare await, taken just before: the median of some rounds."""
    ratios: List[float] = []
    for _ in range(ROUNDS):
        bare = nanoseconds(loop, identity, [1] * 2000)
        ratios.append(nanoseconds(loop, function, keys) / bare)
    return statistics.median(ratios)


def hit_and_miss(loop: Any, function: Any, size: int) -> str:
    """With so many results cached; hits of one key, to leave out the processor's caches."""
    loop.run_until_complete(calls(function, list(range(size))))
    hit = rate(loop, function, [size // 2] * 2000)
    fresh = iter(range(size, 10**9))
    miss = rate(loop, lambda _: function(next(fresh)), [0] * 500)
    return f"hit {hit:.1f}, miss {miss:.1f}"


def sizes(loop: Any, module: Any) -> None:
    for size in 10, 1_000, 100_000, 1_000_000:
        for ttl in None, 3600:
            function = module.alru_cache(maxsize=size, ttl=ttl)(identity)
            print(f"  {size:9,} results, ttl={ttl}: {hit_and_miss(loop, function, size)}")
            function.cache_clear()


def zipf(loop: Any, module: Any) -> None:
    """10,000 keys; room for 1,000."""
    weights = list(accumulate(1 / rank for rank in range(1, 10_001)))
    keys = random.Random(0).choices(range(10_000), cum_weights=weights, k=10_000)
    function = module.alru_cache(maxsize=1000)(identity)
    loop.run_until_complete(calls(function, keys))
    each = rate(loop, function, keys)
    took = statistics.median(nanoseconds(loop, function, keys) for _ in range(ROUNDS))
    info = function.cache_info()
    share = info.hits / (info.hits + info.misses)
    print(f"  Zipf: {each:.1f}, {1e9 / took:,.0f} calls a second, {share:.1%} hits")


def collection(loop: Any, module: Any) -> None:
    for ttl in None, 3600:
        function = module.alru_cache(maxsize=None, ttl=ttl)(identity)
        gc.collect()
        before = min(collect() for _ in range(5))
        loop.run_until_complete(calls(function, list(range(100_000))))
        gc.collect()
        after = min(collect() for _ in range(5))
        print(f"  a full collection with 100,000 entries, ttl={ttl}: +{after - before:.1f} ms")
        function.cache_clear()


def collect() -> float:
    start = time.perf_counter()
    gc.collect()
    return (time.perf_counter() - start) * 1000


def loops(modules: Dict[str, Any]) -> None:
    makers: Dict[str, Callable[[], Any]] = {"asyncio": asyncio.new_event_loop}
    try:
        makers["uvloop"] = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        print("no uvloop")
    for kind, make in makers.items():
        loop = make()
        for name, module in modules.items():
            function = module.alru_cache(maxsize=128)(identity)
            print(f"  {kind}, {name}: {hit_and_miss(loop, function, 10)}")
        bare = statistics.median(
            nanoseconds(loop, identity, [1] * 2000) for _ in range(ROUNDS)
        )
        print(f"  {kind}: a bare await takes {bare:.0f} ns")
        loop.close()


def main(only_loops: bool) -> None:
    modules = {OURS: async_lru}
    try:
        modules[NAMESAKE] = load(PEERS[NAMESAKE])
    except (subprocess.CalledProcessError, ImportError, TypeError):
        print("async-lru 2.4.0 does not run here")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}; calls in multiples of a bare await", flush=True)
    loops(modules)
    loop = asyncio.new_event_loop()
    for name, module in modules.items() if not only_loops else ():
        print(name)
        zipf(loop, module)
        collection(loop, module)
        sizes(loop, module)
    loop.close()
    pypy = shutil.which("pypy3")
    if pypy and platform.python_implementation() != "PyPy":
        subprocess.run([pypy, "-m", "benchmarks.more", "--loops"], cwd=ROOT, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure async_lru in more ways.")
    parser.add_argument("--loops", action="store_true", help="only compare the event loops")
    main(parser.parse_args().loops)
