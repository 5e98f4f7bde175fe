"""Event loops with clients, and the functions that they call: for ``soak``."""

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from contextvars import ContextVar
from itertools import accumulate
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import LIMIT, PYPY, turns
from .interference import PACKAGE

KEYS = 5000
WEIGHTS = list(accumulate(1 / rank for rank in range(1, KEYS + 1)))
INSTANCES = 10
MAXSIZE = 1000


class Result(NamedTuple):
    key: int
    loop: int
    version: int
    # When the run was over and the result stored, at the latest; empty until then.
    stored: List[float]


class Call:
    """A caller and its outcome. A run knows by its context which caller has started it."""

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.outcome: Any = None


class FailureError(Exception):
    """The failure of a run: for the callers who wait, and for the log if none is left."""

    def __init__(self, key: int, refresh: bool, waiting: Set[Call]) -> None:
        super().__init__(key)
        self.refresh = refresh
        self.waiting = waiting

    def is_for_the_log(self) -> bool:
        """Whether nobody was left who could have received it (contract 4 and 10)."""
        outcomes = [call.outcome for call in self.waiting]
        # PyPy does not close the coroutines that it collects: those of a closed loop.
        left = "left" in outcomes or (PYPY and None in outcomes)
        return self not in outcomes and (self.refresh or left)


THIS_CALL: "ContextVar[Call]" = ContextVar("THIS_CALL")


class Cached:
    """A function under test, and the facts that its results are made from."""

    keys = KEYS

    def __init__(self, age: float, **options: Any) -> None:
        self.age = age  # in seconds, that a result may have
        if options:
            self.function: Any = alru_cache(**options)(self.work)
        # By key: the version of the facts, and the oldest that a caller may get.
        self.versions = dict.fromkeys(range(self.keys), 0)
        self.told = dict(self.versions)
        self.changing = threading.Lock()

    async def work(self, key: int) -> Result:
        call, version = THIS_CALL.get(), self.versions[key]
        site = call.site
        refresh = isinstance(
            call.outcome, Result
        )  # the caller that has started it did not wait
        site.count["works"] += 1
        site.count["refreshes"] += refresh
        await asyncio.sleep(site.chance.random() * 0.002)
        if site.chance.random() < 0.05:
            raise FailureError(key, refresh, set(site.waiting.get((self, key), ())))
        result = Result(key, site.number, version, [])
        task: Any = asyncio.current_task()
        # By now the library has added its callback, and this one comes after it.
        task.add_done_callback(lambda _: result.stored.append(time.monotonic()))
        return result

    def invalidate(self, key: int, count: "Counter[str]") -> None:
        with self.changing:
            self.versions[key] += 1
            count["records applied"] += self.function.cache_invalidate(key)
            self.told[key] = self.versions[key]


class Instance(Cached):
    keys = 50
    function = alru_cache(maxsize=20, ttl=0.2, refresh=0.05, per_instance=True)(Cached.work)

    def __init__(self) -> None:
        super().__init__(age=0.2)


def ttl(result: Result) -> Optional[float]:
    return [0.2, 1, None, 0][result.key % 4]


class SoakLoop(asyncio.SelectorEventLoop):
    """An event loop that can be recognized among the objects that are left."""

    def __del__(self) -> None:
        """Do nothing: asyncio's may find that its sockets are freed already."""


class Shared:
    """The functions under test, and what is recorded about them."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        # Called in the lasting loop only, and never cleared, so that its counters are known.
        self.counted = Cached(age=1, maxsize=MAXSIZE, ttl=0.5, jitter=0.5)
        self.functions = [
            self.counted,
            Cached(age=0.6, maxsize=MAXSIZE, ttl=0.5, jitter=0.1, refresh=0.1),
            Cached(age=float("inf"), maxsize=None, ttl=ttl, refresh=0.1),
            Cached(age=float("inf"), maxsize=MAXSIZE),
        ]
        self.instances = [Instance() for _ in range(INSTANCES)]
        self.counts: List["Counter[str]"] = [Counter()]  # of each thread
        self.heard: List[Tuple[str, Any]] = []
        self.heard_before: List[Tuple[str, Any]] = []
        self.failures: List[str] = []

    def tasks(self) -> int:
        functions = [cached.function for cached in self.functions]
        return sum(f.cache_parameters()["tasks"] for f in (*functions, Instance.function))

    def judge(self) -> None:
        """Judge what asyncio has logged, one period later: by then all callers have woken."""
        heard, self.heard_before, self.heard = self.heard_before, self.heard, []
        for message, failure in heard:
            of_work = message.startswith(
                (
                    "Task exception was never retrieved: ",
                    "A refresh failed, and the old result stays until its ttl: ",
                )
            )
            if of_work and failure.is_for_the_log():
                what = "refreshes" if failure.refresh else "calls"
                self.counts[0][f"failures of {what} that nobody was left to receive"] += 1
            else:
                self.failures.append(f"logged: {message}, {failure!r}")

    def warned(self, message: Any, category: Any, *_: Any, **__: Any) -> None:
        if category is AlruCacheLoopResetWarning:
            self.counts[0]["warnings of a loop change"] += 1
        elif category is not ResourceWarning:  # the sockets of abandoned loops
            self.failures.append(f"warned: {message}")


class Site:
    """An event loop, its clients, and what they count."""

    def __init__(
        self,
        shared: Shared,
        count: "Counter[str]",
        chance: random.Random,
        clients: int = 20,
        lasting: bool = False,
    ) -> None:
        self.shared = shared
        self.count = count
        self.chance = chance
        self.clients = clients
        self.number = next(shared.numbers)
        self.lasting = lasting
        self.functions = shared.functions[not lasting :]
        self.waiting: Dict[Tuple[Cached, int], Set[Call]] = {}
        self.over = self.closing = False
        self.calls_counted = 0

    def run(self, seconds: float, end: str) -> None:
        loop = SoakLoop()
        loop.set_exception_handler(lambda _, context: self.hear(context, end))
        loop.run_until_complete(self.traffic(seconds, end))
        self.count["loops made"] += 1
        self.count[f"loops {end}"] += 1
        if end != "abandoned":
            loop.close()

    def hear(self, context: Dict[str, Any], end: str) -> None:
        message: str = context["message"]
        task: Any = context.get("task") or context.get("future")
        coroutine = task.get_coro() if hasattr(task, "get_coro") else task
        name = getattr(coroutine, "__name__", None)
        if end == "closed" and "was destroyed" in message and name in ("client", "ask"):
            return  # the user's own, in a loop that was closed too early
        if end == "closed" and message == "Task exception was never retrieved":
            return  # it has failed in the loop's last turn, and asyncio itself says so
        self.shared.heard.append((f"{message} ({name})", context.get("exception")))

    async def traffic(self, seconds: float, end: str) -> None:
        until = time.monotonic() + seconds
        clients = [asyncio.ensure_future(self.client()) for _ in range(self.clients)]
        while time.monotonic() < until:
            await asyncio.sleep(min(seconds, 0.1))
            self.look_at_timers()
        if end == "closed":
            self.over = True
            await turns()  # during calls, all of which have begun: else Python would warn
            return
        if end == "cache_close" and not self.lasting:
            await self.close()
            await asyncio.sleep(0.01)  # during traffic, which goes on for a moment
        self.over = True
        _, waiting = await asyncio.wait(clients, timeout=LIMIT)
        assert not waiting
        for client in clients:
            if not client.cancelled() or not self.closing:
                client.result()
        while len(asyncio.all_tasks()) > 1:  # refreshes, and calls without callers
            await turns()
        if self.lasting:
            info = self.shared.counted.function.cache_info()
            assert info.hits + info.misses == self.calls_counted, (info, self.calls_counted)
            await self.close()

    async def close(self) -> None:
        self.closing = True
        functions = [cached.function for cached in self.functions]
        for function in (*functions, Instance.function):
            closing = function.cache_close(wait=self.chance.random() < 0.5)
            await asyncio.wait_for(closing, LIMIT)

    def look_at_timers(self) -> None:
        loop: Any = asyncio.get_running_loop()
        ours = [timer for timer in list(loop._scheduled) if PACKAGE in repr(timer)]
        alive = sum(not timer.cancelled() for timer in ours)
        self.count["timers seen"] += alive
        # Those of instances that have just been freed are about to be cancelled.
        assert alive <= len(self.functions) + 3 * INSTANCES

    async def client(self) -> None:
        chance, instances = self.chance, self.shared.instances
        while not self.over:
            cached: Cached = chance.choice([*self.functions, chance.choice(instances)])
            (number,) = chance.choices(range(KEYS), cum_weights=WEIGHTS)
            key, what = number % cached.keys, chance.random()
            if what < 0.005:
                cached.invalidate(key, self.count)
                instances[chance.randrange(INSTANCES)] = Instance()
            with contextlib.suppress(asyncio.TimeoutError):
                if what < 0.05:
                    await asyncio.wait_for(self.ask(cached, key), chance.random() * 0.002)
                else:
                    await self.ask(cached, key)
            if chance.random() < 0.1:
                await asyncio.sleep(0)

    async def ask(self, cached: Cached, key: int) -> None:
        """Call, and look at the outcome."""
        call = Call(self)
        THIS_CALL.set(call)
        waiting = self.waiting.setdefault((cached, key), set())
        waiting.add(call)
        told, asked = cached.told[key], time.monotonic()
        self.count["calls"] += 1
        self.calls_counted += cached is self.shared.counted
        try:
            call.outcome = result = await cached.function(key)
            assert result[:2] == (key, self.number), (result, key, self.number)
            assert result.version >= told, (result, told)
            fresh = all(asked - stored < cached.age for stored in result.stored)
            assert fresh, (result, asked)
        except FailureError as failure:
            call.outcome = failure
            if failure.args != (key,):
                raise
        except RuntimeError as error:
            if not self.closing or "closed" not in str(error):
                raise
        except BaseException:
            call.outcome = "left"
            raise
        finally:
            waiting.discard(call)
            if not waiting:
                self.waiting.pop((cached, key), None)
