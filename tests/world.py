"""A cached function, its callers, and what the contract says of them: for ``scenarios``."""

import asyncio
import contextlib
import gc
import math
import sys
import weakref
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import async_lru

from .helpers import PYPY, ClockLoop, Thing, resume, timers, turns, wait_for

TTL = 10.0
REFRESH = 4.0
KEYS = range(6)
# A tracer may leave a frame in a cycle with its variables. (PEP 667)
TRACED_FRAMES_STAY = sys.version_info < (3, 13)


class Key:
    """A key that reports each call of its methods."""

    def __init__(self, number: int, watch: Any) -> None:
        self.number = number
        self.watch = watch

    def __hash__(self) -> int:
        self.watch.moment(sys._getframe())
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        self.watch.moment(sys._getframe())
        return isinstance(other, Key) and self.number == other.number


class World:
    """A cached function, the facts that its results are made from, and its callers.

    ``watch`` has the scenario's part of it watched. What is wrong is in ``problems``.
    """

    def __init__(
        self, loop: ClockLoop, options: Dict[str, Any], watch: Any, by_key: bool
    ) -> None:
        self.loop = loop
        self.ttl: float = options.get("ttl", math.inf)
        self.maxsize: Optional[int] = options.get("maxsize", 128)
        self.watch = watch
        self.by_key = by_key
        self.problems: List[str] = []
        # By key: the version of the facts, and the oldest that may still be served. A result
        # has the version that it was made from.
        self.versions = dict.fromkeys(KEYS, 0)
        self.oldest = dict.fromkeys(KEYS, 0)
        self.failing: Set[int] = set()
        # How many runs have begun, and whether they end without suspending.
        self.works = 0
        self.at_once = False
        self.last_work: Any = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks: List["asyncio.Task[None]"] = []
        self.half_run: List[Tuple[Any, Any]] = []
        self.closing: List[Any] = []
        self.may_be_cancelled = self.closed = False
        # The keys that have been dropped and not been called since, and those being called.
        self.absent: Set[int] = set()
        self.calling: List[int] = []
        # The calls that are to be in the counters, at most and at least.
        self.calls = self.calls_since_clear = 0
        # How many loops have called.
        self.loops = 1
        # With per_instance: the instance that is called, and those that are to be freed.
        self.instance: Any = None
        self.dropped: "List[weakref.ref[Thing]]" = []

        async def method(instance: Any, key: Any) -> Any:
            return await self.work(key)

        if options.get("per_instance"):
            self.instance = Thing()
        work = self.work if self.instance is None else method
        self.function: Any = async_lru.alru_cache(**options)(work)
        loop.set_exception_handler(self.complain)

    async def work(self, key: Any) -> Any:
        number = key.number if self.by_key else key
        made_from = self.versions[number]
        self.works += 1
        self.last_work = asyncio.current_task()
        if not self.gate.is_set():
            while not self.gate.is_set():
                await self.gate.wait()
        elif not self.at_once:
            await asyncio.sleep(0)
        if number in self.failing:
            raise ValueError(number)
        return number, made_from, self.loop.now

    @property
    def callable(self) -> Any:
        """The function, or the bound method."""
        if self.instance is None:
            return self.function
        return self.function.__get__(self.instance)

    def key(self, number: int) -> Any:
        return Key(number, self.watch) if self.by_key else number

    def complain(self, loop: Any, context: Dict[str, Any]) -> None:
        error = context.get("exception")
        # A failure of the function may be one that nobody was left to receive.
        if not isinstance(error, ValueError):
            self.problems.append(f"logged {context.get('message')}: {error!r}")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        with self.watch.watching(self.by_key):
            yield

    # Steps of scenarios, and actions

    async def call(self, number: int, cancelled: bool = False) -> None:
        """Call, and look at the outcome."""
        oldest = self.oldest[number]
        self.calling.append(number)
        self.calls += 1
        self.calls_since_clear += 1
        try:
            result = await self.callable(self.key(number))
        except asyncio.CancelledError:
            if not (cancelled or self.may_be_cancelled):
                self.problems.append("a caller was cancelled")
        except ValueError as error:
            if error.args != (number,) or number not in self.failing:
                self.problems.append(f"raised {error!r}")
        except RuntimeError as error:
            if not self.closed or "closed" not in str(error):
                self.problems.append(f"raised {error!r}")
        except BaseException as error:  # noqa: BLE001
            self.problems.append(f"raised {error!r}")
        else:
            its_number, version, at = result
            if its_number != number or not oldest <= version <= self.versions[number]:
                self.problems.append(f"got {result} for {number}, at least version {oldest}")
            self.expect(self.loop.now - at < self.ttl, "got an expired result")
        finally:
            self.calling.remove(number)
            self.absent.discard(number)

    def begin(self, number: int, cancelled: bool = False) -> "asyncio.Task[None]":
        self.tasks.append(self.loop.create_task(self.call(number, cancelled)))
        return self.tasks[-1]

    def begin_half(self, number: int) -> None:
        """Have a caller that has begun and waits, to be let go of."""
        call = self.callable(self.key(number))
        self.calling.append(number)
        self.calls += 1
        self.calls_since_clear += 1
        try:
            waits_for = call.send(None)
        except StopIteration:
            pass
        else:
            self.half_run.append((call, waits_for))

    def change(self, *numbers: int) -> Dict[int, int]:
        """Change the facts; return the versions to be relied upon once that is told."""
        for number in numbers:
            self.versions[number] += 1
        return {number: self.versions[number] for number in numbers}

    def rely(self, versions: Dict[int, int]) -> None:
        """From now on no result is to be older."""
        for number, version in versions.items():
            self.oldest[number] = max(self.oldest[number], version)

    def invalidate(self, number: int) -> None:
        versions = self.change(number)
        self.absent.discard(number)
        self.callable.cache_invalidate(self.key(number))
        self.rely(versions)
        self.absent.add(number)
        self.look_for(number)

    def clear(self) -> None:
        versions = self.change(*KEYS)
        self.calls_since_clear = 0
        self.absent.clear()
        self.function.cache_clear()
        self.rely(versions)
        self.absent.update(KEYS)
        if self.function.cache_info().currsize:
            self.problems.append("not empty though cleared")

    def drop(self) -> None:
        """The instance is freed, with its last call at the latest; there is a new one."""
        if self.instance is None or PYPY:  # there only the collector would see to it
            return
        self.rely(self.change(*KEYS))
        self.calls_since_clear = 0
        self.dropped.append(weakref.ref(self.instance))
        self.instance = Thing()

    def look_for(self, number: int) -> None:
        dropped = number in self.absent and number not in self.calling
        contained = self.callable.cache_contains(self.key(number))
        self.expect(not (dropped and contained), "contained though dropped")

    def look(self) -> None:
        self.look_for(1)
        self.expect(self.running() <= self.calls, "too many run")
        info = self.function.cache_info()
        instances = 1 + sum(dropped() is not None for dropped in self.dropped)
        most = math.inf if self.maxsize is None else self.maxsize * instances * self.loops
        self.expect(0 <= info.currsize <= most, info)

    def begin_close(self) -> None:
        self.closed = self.may_be_cancelled = True
        closing = self.function.cache_close()
        try:
            waits_for = closing.send(None)
        except StopIteration:
            pass
        else:
            self.closing.append(resume(closing, waits_for))

    def let_go(self) -> None:
        if self.half_run:
            call, _ = self.half_run.pop()
            call.close()

    def cancel(self) -> None:
        """Cancel a caller as its task would; it takes its step later."""
        if self.half_run:
            _, waits_for = self.half_run[-1]
            waits_for.cancel()

    def let_go_and_drop(self) -> None:
        self.let_go()
        self.drop()

    # What holds in the end

    def expect(self, holds: bool, what: object) -> None:
        if not holds:
            self.problems.append(str(what))

    def expect_works(self, count: int) -> None:
        """Where nothing has come between, so many calls and refreshes have begun."""
        self.expect(bool(self.watch.plan) or self.works == count, f"works: {self.works}")

    async def finish(self) -> None:
        """Let everything come to its end, in a bounded number of turns."""
        self.gate.set()
        self.last_work = None  # a task that has failed keeps the instance
        await turns(2)
        while self.half_run:
            self.let_go()
        self.tasks += [self.loop.create_task(wait_for(closing)) for closing in self.closing]
        for _ in range(40):
            await asyncio.sleep(0)
            if all(task.done() for task in self.tasks) and not self.running():
                break
        for task in self.tasks:
            if not task.done():
                self.problems.append(f"hangs: {task}")
                task.cancel()
            elif not task.cancelled() and task.exception():
                self.problems.append(f"raised {task.exception()!r}")

    def running(self) -> int:
        tasks: int = self.function.cache_parameters()["tasks"]
        return tasks

    async def expect_refusal(self) -> None:
        before = self.function.cache_info()
        await self.call(1)
        self.expect(self.function.cache_info() == before, "a call though closed")

    async def look_around(self, player: Any) -> None:
        """See to it that everything ends, and that all still works and nothing is left."""
        function = self.function
        await self.finish()
        self.expect(self.running() == 0, "something runs")
        if self.dropped and TRACED_FRAMES_STAY:
            gc.collect()
        self.expect(not any(dropped() for dropped in self.dropped), "an instance is kept")
        self.look()
        info = function.cache_info()
        low = 0 if self.closed else self.calls_since_clear
        self.expect(
            low <= info.hits + info.misses <= self.calls,
            f"{info}: {low} to {self.calls} calls",
        )
        self.failing.clear()
        if function.cache_parameters()["closed"]:
            await self.expect_refusal()
        await self.call(1)  # what has been dropped is not served
        before = function.cache_info().hits
        await self.call(1)
        if not self.closed:
            kept = function.cache_info().hits - before
            self.expect(kept == (self.maxsize != 0), "the result of a call is not kept")
        for number in 1, 2:
            self.invalidate(number)  # has an effect
        await self.call(1)
        await self.call(2)
        self.clear()  # has one too
        await self.call(1)
        await self.call(1)
        hits = 0 if self.maxsize == 0 else 1
        if not self.closed:
            self.expect(function.cache_info()[:2] == (hits, 2 - hits), "counts in the end")
        self.look()
        await function.cache_close()
        self.closed = True
        await self.expect_refusal()
        function.cache_clear()
        self.expect(function.cache_info()[:2] == (0, 0), "counts")
        await turns(2)
        self.expect(timers(self.loop) == [], "a timer is left")
        left = asyncio.all_tasks() - {asyncio.current_task(), player}
        self.expect(not left, f"left: {left}")
        for handle in timers(self.loop):
            handle.cancel()
