"""Traffic for a while: ``make soak``, two minutes; its short form is a test.

Clients call by Zipf-distributed keys, give up early now and then, meet failures, invalidate,
and drop instances; results expire and are refreshed. One event loop lasts; those of other
threads are closed, with their caches or without, or abandoned. A thread without a loop
invalidates, clears and looks. Another process plays scenarios of ``interference``.

All along results are right and fresh, memory stays flat, there are no more timers than caches,
and the counters add up; what asyncio logs is asked for by the contract. In the end nothing is
left behind.
"""

import argparse
import contextlib
import gc
import importlib
import multiprocessing
import random
import sys
import threading
import time
import warnings
from collections import Counter
from typing import Any, Callable, Dict, List, Tuple

from .helpers import LIMIT, PYPY, clock_loop
from .interference import two_at_random
from .traffic import MAXSIZE, Instance, Shared, Site, SoakLoop

tracemalloc: Any = None if PYPY else importlib.import_module("tracemalloc")

THREADS = 2
# How a thread ends its loop: it closes the caches, or the loop during calls, or drops it.
ENDS = "cache_close", "closed", "abandoned"


class Soak:
    """The threads of a run, and a look at what they leave."""

    def __init__(self, seconds: float, seed: int) -> None:
        self.until = time.monotonic() + seconds
        self.chance = random.Random(seed)
        self.shared = Shared()

    def over(self) -> bool:
        return time.monotonic() >= self.until

    def thread(self, run: Callable[..., None]) -> threading.Thread:
        count: "Counter[str]" = Counter()
        self.shared.counts.append(count)
        chance = random.Random(self.chance.random())

        def guarded() -> None:
            try:
                run(count, chance)
            except BaseException as error:  # noqa: BLE001
                self.shared.failures.append(f"{run.__name__}: {error!r}")

        thread = threading.Thread(target=guarded, daemon=True)  # it may hang
        thread.start()
        return thread

    def lasting_loop(self, count: "Counter[str]", chance: random.Random) -> None:
        site = Site(self.shared, count, chance, clients=50, lasting=True)
        site.run(self.until - time.monotonic(), "cache_close")

    def short_loops(self, count: "Counter[str]", chance: random.Random) -> None:
        while not self.over():
            end = chance.choice(ENDS)
            site = Site(self.shared, count, chance)
            site.run(chance.uniform(0.05, 0.5), end)

    def meddle(self, count: "Counter[str]", chance: random.Random) -> None:
        """Do in a thread without a loop what can be done from anywhere."""
        shared = self.shared
        while not self.over():
            cached = chance.choice([*shared.functions, *shared.instances])
            cached.invalidate(chance.randrange(50), count)
            cached.function.cache_contains(chance.randrange(50))
            info, tasks = cached.function.cache_info(), shared.tasks()
            assert min(*info[:2], info.currsize, tasks) >= 0, (info, tasks)
            assert shared.counted.function.cache_info().currsize <= MAXSIZE
            if chance.random() < 0.01 and cached is not shared.counted:
                is_instance = isinstance(cached, Instance)
                (Instance if is_instance else cached).function.cache_clear()
                count["records applied"] += 1
            time.sleep(0.001)

    def finish(self) -> Tuple[int, int]:
        """Look at what is left, after a call in a new loop."""
        shared = self.shared
        site = Site(shared, shared.counts[0], self.chance, lasting=False)
        site.functions = shared.functions
        site.run(0.2, "cache_close")
        for _ in range(4):  # finalizers run in between, and let go of more
            shared.judge()
            shared.instances.clear()
            gc.collect()
        things = gc.get_objects()
        loops = sum(isinstance(thing, SoakLoop) for thing in things)
        instances = sum(isinstance(thing, Instance) for thing in things)
        tasks = shared.tasks()
        # A function may keep the loop used last. A dict of PyPy may keep an item that was
        # removed, until it is used again.
        if tasks or (not PYPY and (loops > 1 or instances)):
            shared.failures.append(
                f"left: {loops} loops, {instances} instances, {tasks} calls"
            )
        for function in (cached.function for cached in shared.functions):
            function.cache_clear()
            if any(function.cache_info()[::3]):
                shared.failures.append(f"cleared, and left with {function.cache_info()}")
        return loops, instances


def interfere(seconds: float, seed: int) -> Tuple[int, List[str]]:
    """Play scenarios with two actions; return how many, and the problems."""
    until = time.monotonic() + seconds
    chance = random.Random(seed)
    problems: List[str] = []
    with clock_loop() as loop:
        times = 0
        while time.monotonic() < until:
            problems += two_at_random(loop, chance)
            times += 1
    return times, problems


def soak(
    seconds: float, tell: Callable[[str], object], seed: int = 0
) -> Tuple[Dict[str, Any], List[str]]:
    """Run for that many seconds; return the figures and the failures."""
    with contextlib.ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        process = stack.enter_context(spawn.Pool(1))  # PyPy has a broken executor
        interfering = process.apply_async(interfere, (seconds, seed))
        soak = Soak(seconds, seed)
        failures = soak.shared.failures
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        warnings.showwarning = soak.shared.warned
        stack.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = lambda ignored: failures.append(f"ignored: {ignored}")
        if tracemalloc:
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
        threads = [soak.thread(soak.lasting_loop), soak.thread(soak.meddle)]
        threads += [soak.thread(soak.short_loops) for _ in range(THREADS)]
        sizes: List[int] = []
        while any(thread.is_alive() for thread in threads):
            time.sleep(min(1, seconds / 8))
            soak.shared.judge()
            gc.collect()
            if tracemalloc:
                sizes.append(tracemalloc.get_traced_memory()[0])
            tell(f"{sum(count['calls'] for count in soak.shared.counts):,} calls")
            if time.monotonic() > soak.until + LIMIT:
                failures.append("it hangs")
                break
        left = soak.finish()
        part = len(sizes) // 4
        # The least of several looks, because at each other calls are in flight.
        if part >= 10 and min(sizes[-part:]) > 1.25 * min(sizes[part : 2 * part]):
            failures.append(f"memory grows: {sizes}")
        figures: Dict[str, Any] = dict(sorted(sum(soak.shared.counts, Counter()).items()))
        figures["loops left"], figures["instances left"] = left
        if tracemalloc:
            figures["peak memory, MB"] = round(tracemalloc.get_traced_memory()[1] / 1e6, 1)
        figures["double interferences"], problems = interfering.get(LIMIT)
    return figures, failures + problems


def main() -> None:
    from tqdm import tqdm  # noqa: PLC0415  # only here: the suite does without

    parser = argparse.ArgumentParser(description="Traffic for a while.")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    layout = "{l_bar}{bar}| {n:.0f} s {postfix}"
    with tqdm(total=options.seconds, unit="s", bar_format=layout) as bar:
        start = time.monotonic()

        def tell(status: str) -> None:
            bar.set_postfix_str(status, refresh=False)
            bar.update(min(time.monotonic() - start, options.seconds) - bar.n)

        figures, failures = soak(options.seconds, tell, options.seed)
    for name, figure in figures.items():
        print(f"{figure:>12,} {name}")
    print(f"{len(failures):>12,} failures", *failures[:20], sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
