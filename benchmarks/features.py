"""What our cache and its peers can do, tried here, for docs/benchmarks.rst.

    python -m benchmarks.features

Each mark is the outcome of a trial, except those for ``refresh``: they say whether the
decorator has an option of that name.
"""

import asyncio
import inspect
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import warnings
from typing import Any, Callable, Dict, List

import async_lru

from .compare import runs_for_ten_callers, when_the_first_caller_is_cancelled
from .peers import OURS, PEERS, ROOT, SCRATCH, load_all, rst_table

# How to decorate with each, for a type checker.
TYPED = {
    OURS: "from async_lru import alru_cache\n@alru_cache(maxsize=9)",
    "async-lru 2.4.0": "from async_lru import alru_cache\n@alru_cache(maxsize=9)",
    "faster-async-lru": "from faster_async_lru import alru_cache\n@alru_cache(maxsize=9)",
    "asyncstdlib": "from asyncstdlib import lru_cache\n@lru_cache(maxsize=9)",
    "anyio.functools": "from anyio.functools import lru_cache\n@lru_cache(maxsize=9)",
    "cachetools-async": "from cachetools_async import cached\n@cached({})",
    "acachetools": "from acachetools import cached\n@cached({})",
    "cachebox": "from cachebox import cached, LRUCache\n@cached(LRUCache(9))",
    "aiocache": "from aiocache import cached\n@cached(ttl=9)",
    "moka-py": "from moka_py import cached\n@cached(maxsize=9)",
    "theine": "from theine import Memoize\n@Memoize(9, None)",
}
CALLED = """
async def double(x: int) -> int:
    return 2 * x

async def main() -> None:
    reveal_type(await double(1))
    await double("wrong")
"""


def decorator(name: str, module: Any) -> Callable[[Any], Any]:
    """Where there are two, the one that shares calls."""
    if name == "aiocache":
        return module.cached_stampede(lease=2)  # type: ignore[no-any-return]
    return PEERS[name].bounded(module, 128)  # type: ignore[no-any-return]


async def expires(decorate: Any) -> bool:
    runs: List[int] = []

    async def expiring(x: int) -> int:
        runs.append(x)
        return x

    function = decorate(expiring)
    await function(1)
    await function(1)
    before = len(runs)
    await asyncio.sleep(1.1)
    await function(1)
    return (before, len(runs)) == (1, 2)


def has_refresh(module: Any) -> bool:
    makers = [getattr(module, name, None) for name in ("alru_cache", "lru_cache", "cached")]
    return any("refresh" in inspect.signature(maker).parameters for maker in makers if maker)


def keeps_loops_apart(decorate: Any) -> bool:
    runs: List[int] = []

    async def looping(x: int) -> Any:
        runs.append(x)
        return id(asyncio.get_running_loop())

    function = decorate(looping)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    alternating = [first, second, first]
    try:
        answers = [loop.run_until_complete(function(1)) for loop in alternating]
    finally:
        first.close()
        second.close()
    return answers == [id(loop) for loop in alternating] and len(runs) == 2


def works_in_threads(decorate: Any) -> bool:
    """Two event loops at once: one key in flight in both, then many."""
    failures: List[BaseException] = []

    async def threaded(x: int) -> int:
        await asyncio.sleep(0 if x else 0.2)
        return x

    function = decorate(threaded)

    async def calls() -> None:
        for x in [0, *(random.randrange(1, 300) for _ in range(5000))]:
            assert await asyncio.wait_for(function(x), 5) == x

    def thread() -> None:
        try:
            asyncio.run(calls())
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=thread) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return not failures


def is_typed(name: str) -> bool:
    """Whether mypy knows the result, and finds the wrong argument."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "case.py").write_text(TYPED[name] + CALLED)
        path = ROOT if name == OURS else SCRATCH / PEERS[name].package
        report = subprocess.run(
            [sys.executable, "-m", "mypy", "case.py"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    return 'Revealed type is "int"' in report and "case.py:8: error" in report


def is_pure(name: str) -> bool:
    folder = ROOT / OURS if name == OURS else SCRATCH / PEERS[name].package
    return not [*folder.rglob("*.so")]


def trials(name: str, module: Any) -> Dict[str, bool]:
    def decorate(function: Any) -> Any:
        return decorator(name, module)(function)

    expiring = PEERS[name].expiring
    cancelled = when_the_first_caller_is_cancelled(decorate)
    return {
        "shares calls": asyncio.run(runs_for_ten_callers(decorate)) == "once",
        "survives cancellation": asyncio.run(cancelled) == "gets the result",
        "ttl": expiring is not None and asyncio.run(expires(expiring(module, 128, 1))),
        "refresh": has_refresh(module),
        "per loop": keeps_loops_apart(decorate),
        "threads": all(works_in_threads(decorate) for _ in range(6)),
        "types": is_typed(name),
        "pure Python": is_pure(name),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    sys.setswitchinterval(1e-6)  # threads take turns more often, so that a race shows
    modules = {OURS: async_lru, **load_all()}
    seen = {name: trials(name, module) for name, module in modules.items()}
    rows = [["cache", *seen[OURS]]]
    for name, marks in seen.items():
        rows.append([name, *("✓" if yes else "–" for yes in marks.values())])  # noqa: RUF001
    print(rst_table(rows))


if __name__ == "__main__":
    main()
