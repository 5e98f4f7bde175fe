"""Our cache beside those a user could pick instead, for docs/benchmarks.rst.

    python -m benchmarks.compare [--rounds 51] [--write]

It writes to a new folder; with ``--write`` to the table of its Python in docs/benchmarks.rst.

Every cache does the same work in one process. A round is a bare await and right after it each
of the caches, in random order, so that a slow moment of the machine, and the garbage that one
leaves to the next, fall on all alike; the figures are medians of the ratios.
"""

import argparse
import asyncio
import datetime
import pathlib
import platform
import random
import statistics
import tempfile
import textwrap
import time
from typing import Any, Dict, List, Tuple

import matplotlib as mpl
from matplotlib import pyplot

import async_lru

from .peers import OURS, PEERS, ROOT, identity, load_all, plain, rst_table

FACTS = "10 callers at once run it", "if the first is cancelled, the second"
VERSION = platform.python_version()
PYTHON = f"{platform.python_implementation()} {VERSION.rpartition('.')[0]}"
START, END = f".. The table of {PYTHON} starts here.", f".. The table of {PYTHON} ends here."
PAGE = ROOT / "docs" / "benchmarks.rst"
INK = "#222222"
PICTURED = "CPython 3.13"  # in comparison.svg


async def hits(function: Any, turn: int) -> None:
    for _ in range(2000):
        await function(1)


async def misses(function: Any, turn: int) -> None:
    for x in range(500):
        await function(turn * 500 + x + 10)


async def callers(function: Any, turn: int) -> None:
    await asyncio.gather(*[function(-turn - 1) for _ in range(1000)])


# By title: what to run, and how many calls that is.
CASES: Dict[str, Any] = {
    "hit": (hits, 2000),
    "hit, ttl": (hits, 2000),
    "miss": (misses, 500),
    "miss, ttl": (misses, 500),
    "1000 callers, 1 key": (callers, 1000),
}


class Counted:
    """A slow coroutine function that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, x: int) -> int:
        self.runs += 1
        await asyncio.sleep(0.001)
        return x


async def runs_for_ten_callers(decorate: Any) -> str:
    counted = Counted()
    function = decorate(counted.run)
    await asyncio.gather(*[function(1) for _ in range(10)])
    return "once" if counted.runs == 1 else f"{counted.runs} times"


async def when_the_first_caller_is_cancelled(decorate: Any) -> str:
    """What becomes of a second caller that has joined."""
    counted = Counted()
    function = decorate(counted.run)
    # Another key: aiocache has one cache for all functions of this name.
    first, second = (asyncio.ensure_future(function(2)) for _ in range(2))
    await asyncio.sleep(0.0005)
    first.cancel()
    await asyncio.wait([first, second])
    if second.cancelled():
        return "is cancelled too"
    return "gets the result" if counted.runs == 1 else "starts its own run"


async def nanoseconds(title: str, function: Any, turn: int) -> float:
    case, calls = CASES[title]
    start = time.perf_counter_ns()
    await case(function, turn)
    return (time.perf_counter_ns() - start) / calls  # type: ignore[no-any-return]


async def measure(functions: Dict[Tuple[str, str], Any], rounds: int) -> Dict[Any, float]:
    """What a call takes, in multiples of a bare await; that and functools in nanoseconds."""
    took: Dict[Any, List[float]] = {key: [] for key in [*functions, "bare", "functools"]}
    order = random.Random(0)
    for title in CASES:
        keys = [key for key in functions if key[1] == title]
        for turn in range(rounds):
            bare = await nanoseconds("hit", identity, turn)
            took["bare"].append(bare)
            start = time.perf_counter_ns()
            for _ in range(2000):
                plain(1)
            took["functools"].append((time.perf_counter_ns() - start) / 2000)
            for key in order.sample(keys, len(keys)):
                took[key].append(await nanoseconds(title, functions[key], turn) / bare)
    return {key: statistics.median(values) for key, values in took.items()}


def table(names: List[str], took: Dict[Any, float], facts: Dict[str, List[str]]) -> str:
    rows = [["times a bare await", *CASES, *FACTS]]
    for name in names:
        times = [took.get((name, title)) for title in CASES]
        cells = ["no ttl" if value is None else f"{value:.1f}" for value in times]
        rows.append([name, *cells, *facts[name]])
    return rst_table(rows)


def plot(names: List[str], took: Dict[Any, float], file: pathlib.Path) -> None:
    mpl.rcParams["svg.hashsalt"] = "async_lru"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    for part in (
        "text.color",
        "axes.edgecolor",
        "axes.labelcolor",
        "xtick.color",
        "ytick.color",
    ):
        mpl.rcParams[part] = INK
    # As narrow as a phone, on one scale: it begins at a bare await.
    height = len(CASES) * (0.2 + 0.2 * len(names))
    figure, axes = pyplot.subplots(len(CASES), 1, figsize=(5.4, height), sharex=True)
    bottom_up = list(reversed(names))
    colors = ["#c33" if name == OURS else "#89a" for name in bottom_up]
    for axis, title in zip(axes, CASES):
        values = [took.get((name, title), 1) for name in bottom_up]
        bars = axis.barh(bottom_up, [value - 1 for value in values], left=1, color=colors)
        axis.bar_label(bars, [f"{v:.1f}" if v > 1 else "no ttl" for v in values], padding=2)
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axis.set_xscale("log")
        axis.set_xlim(1, 1000)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    axes[-1].set_xlabel("times a bare await, on a logarithmic scale: less is better")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    text = file.read_text()
    for old, new in (
        ("<svg ", '<svg class="picture" role="img" aria-label="The first table as a plot" '),
        ("*{stroke-linejoin", ".picture *{stroke-linejoin"),
        # In a page of the site, the colors of that page.
        ("#ffffff", "var(--color-background-primary, #fff)"),
        (INK, "var(--color-foreground-primary, #222)"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def write_page(text: str) -> None:
    before, rest = PAGE.read_text().split(START)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")


async def main(modules: Dict[str, Any], rounds: int, write: bool) -> None:
    functions: Dict[Tuple[str, str], Any] = {}
    facts: Dict[str, List[str]] = {}
    for name, module in modules.items():
        bounded, expiring = PEERS[name].bounded, PEERS[name].expiring
        facts[name] = [
            await runs_for_ten_callers(bounded(module, 128)),
            await when_the_first_caller_is_cancelled(bounded(module, 128)),
        ]
        for title in CASES:
            if "ttl" not in title:
                functions[name, title] = bounded(module, 128)(identity)
            elif expiring is not None:
                functions[name, title] = expiring(module, 128, 3600)(identity)
    took = await measure(functions, rounds)
    names = list(modules)
    about = (
        f"``make bench`` on {datetime.date.today()}: {PYTHON.partition(' ')[0]} {VERSION},"  # noqa: DTZ011
        f" {platform.system()} {platform.machine()}, medians of {rounds} rounds. A bare await"
        f" took {took['bare']:.0f} ns, a hit of ``functools.lru_cache`` on a plain function"
        f" {took['functools']:.0f} ns. Versions: "
    )
    versions = ", ".join(
        f"{PEERS[name].package.partition('=')[0]} {PEERS[name].version()}"
        for name in names
        if name != OURS
    )
    about = textwrap.fill(f"{about}this checkout, {versions}.", 95, break_on_hyphens=False)
    text = f"{table(names, took, facts)}\n\n{about}"
    print(text)
    if write:
        write_page(text)
        written = [PAGE]
    else:
        written = [pathlib.Path(tempfile.mkdtemp(prefix="async_lru-")) / "table.rst"]
        written[0].write_text(f"{text}\n")
    if not write or PYTHON == PICTURED:
        folder = ROOT / "benchmarks" if write else written[0].parent
        written.append(folder / "comparison.svg")
        plot(names, took, written[-1])
    print("\nWritten:", *written)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare async_lru with its peers.")
    parser.add_argument("--rounds", type=int, default=51)
    parser.add_argument("--write", action="store_true", help="to the page, and the plot")
    arguments = parser.parse_args()
    if arguments.write and START not in PAGE.read_text():
        parser.error(f"docs/benchmarks.rst has no place for it: {START}")
    caches = {OURS: async_lru, **load_all()}
    asyncio.run(main(caches, arguments.rounds, arguments.write))
