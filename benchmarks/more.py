"""Beside async-lru 2.4.0 where that runs: sizes, loops, a Zipf workload, garbage collection.

python -m benchmarks.more
"""

import asyncio
import gc
import importlib
import platform
import random
import statistics
import subprocess
import time
from itertools import accumulate
from typing import Any, Callable, Dict, List

import async_lru

from .peers import NAMESAKE, OURS, PEERS, identity, load

ROUNDS = 15


async def hits(function: Any, keys: List[Any]) -> None:
    for key in keys:
        await function(key)


def rate(loop: Any, function: Any, keys: List[Any]) -> float:
    """Nanoseconds a call, the median of some rounds."""
    took: List[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        loop.run_until_complete(hits(function, keys))
        took.append((time.perf_counter_ns() - start) / len(keys))
    return statistics.median(took)


def sizes(loop: Any, module: Any) -> None:
    for size in 10, 1_000, 100_000, 1_000_000:
        for ttl in None, 3600:
            function = module.alru_cache(maxsize=size, ttl=ttl)(identity)
            loop.run_until_complete(hits(function, list(range(size))))
            keys = [size // 2] * 5000  # one key, so that the processor's caches play no part
            hit = rate(loop, function, keys)
            fresh = iter(range(size, 10**9))
            miss = rate(loop, lambda _, f=function, n=fresh: f(next(n)), [0] * 500)
            print(f"  {size:9,} entries, ttl={ttl}: hit {hit:.0f} ns, miss {miss:.0f} ns")
            function.cache_clear()


def zipf(loop: Any, module: Any) -> None:
    """100,000 calls over 10,000 keys; room for 1,000."""
    weights = list(accumulate(1 / rank for rank in range(1, 10_001)))
    keys = random.Random(0).choices(range(10_000), cum_weights=weights, k=100_000)
    function = module.alru_cache(maxsize=1000)(identity)
    start = time.perf_counter()
    loop.run_until_complete(hits(function, keys))
    took = time.perf_counter() - start
    info = function.cache_info()
    share = info.hits / (info.hits + info.misses)
    print(f"  Zipf: {len(keys) / took:,.0f} calls a second, {share:.1%} hits")


def collection(loop: Any, module: Any) -> None:
    for ttl in None, 3600:
        function = module.alru_cache(maxsize=None, ttl=ttl)(identity)
        gc.collect()
        before = min(collect() for _ in range(5))
        loop.run_until_complete(hits(function, list(range(100_000))))
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
        bare = rate(loop, identity, [1] * 5000)
        for name, module in modules.items():
            function = module.alru_cache(maxsize=128)(identity)
            hit = rate(loop, function, [1] * 5000)
            fresh = iter(range(10, 10**9))
            miss = rate(loop, lambda _, f=function, n=fresh: f(next(n)), [0] * 500)
            line = f"hit {hit:.0f} ns, miss {miss:.0f} ns, bare await {bare:.0f} ns"
            print(f"  {kind}, {name}: {line}")
        loop.close()


def main() -> None:
    modules = {OURS: async_lru}
    try:
        modules[NAMESAKE] = load(PEERS[NAMESAKE])
    except (subprocess.CalledProcessError, ImportError):
        print("async-lru 2.4.0 does not install here")
    print(f"CPython {platform.python_version()}")
    loops(modules)
    loop = asyncio.new_event_loop()
    for name, module in modules.items():
        print(name)
        zipf(loop, module)
        collection(loop, module)
        sizes(loop, module)
    loop.close()


if __name__ == "__main__":
    main()
