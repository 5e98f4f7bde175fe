"""Contract 8: several event loops in several threads use one function, as fast as they can."""

import asyncio
import functools
import gc
import itertools
import random
import sys
import threading
import warnings
import weakref
from typing import Any, Callable, Dict, List, Tuple
from unittest import mock

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import FREE_THREADED, LIMIT, PYPY, collect, in_threads, run_alone, turns

THREADS = 4
CALLS = 500
Result = Tuple[asyncio.AbstractEventLoop, int]


async def this_loop(key: int) -> Result:
    await asyncio.sleep(0)
    return asyncio.get_running_loop(), key


@pytest.mark.parametrize("options", [{}, {"ttl": 0.001}, {"ttl": 100, "typed": True}])
def test_everything_at_once(switching: None, options: Any) -> None:
    function: Any = alru_cache(maxsize=8, **options)(this_loop)

    async def main(seed: int) -> None:
        chance = random.Random(seed)
        loop = asyncio.get_running_loop()
        for _ in range(CALLS):
            keys = [chance.randrange(12) for _ in range(3)]
            results = await asyncio.gather(*[function(key) for key in keys])
            assert results == [(loop, key) for key in keys]
            what = chance.randrange(10)
            if what == 0:
                function.cache_clear()
            elif what < 4:
                function.cache_invalidate(keys[0])
            elif what < 6:
                info = function.cache_info()
                assert 0 <= info.currsize <= 8 * THREADS
                assert 0 <= info.hits + info.misses <= 3 * CALLS * THREADS
            elif what < 8:
                function.cache_contains(keys[1])
                assert function.cache_parameters()["tasks"] >= 0

    in_threads(*[main(seed) for seed in range(THREADS)])
    function.cache_clear()
    assert function.cache_info().currsize == 0


def test_each_keeps_its_hits(switching: None) -> None:
    function: Any = alru_cache(this_loop)
    done = threading.Barrier(THREADS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for n in range(CALLS):
            assert await function(n % 8) == (loop, n % 8)
        done.wait(LIMIT)  # so that no loop is closed before all have begun

    in_threads(*[main() for _ in range(THREADS)])
    assert function.cache_info() == (THREADS * (CALLS - 8), THREADS * 8, 128, THREADS * 8)


def test_each_refreshes_its_own(switching: None) -> None:
    """With refresh=0 each call refreshes the result of its loop."""
    works: Dict[asyncio.AbstractEventLoop, int] = {}

    async def count() -> Result:
        loop = asyncio.get_running_loop()
        works[loop] += 1
        return loop, works[loop]

    function: Any = alru_cache(ttl=1000, refresh=0)(count)
    done = threading.Barrier(THREADS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        works[loop] = 0
        for n in range(CALLS):
            assert await function() == (loop, n or 1)
            await turns(2)
        done.wait(LIMIT)

    in_threads(*[main() for _ in range(THREADS)])
    assert list(works.values()) == [CALLS] * THREADS
    assert function.cache_info() == (THREADS * (CALLS - 1), THREADS, 128, THREADS)


@pytest.mark.parametrize("options", [{}, {"ttl": 1000, "refresh": 0}], ids=["", "refresh"])
def test_an_invalidation_is_never_lost(switching: None, options: Any) -> None:
    """A result that is read after an invalidation was made after it."""
    version = 0

    async def read() -> int:
        read = version
        if options:  # a refresh takes its time
            await asyncio.sleep(0)
        return read

    function: Any = alru_cache(**options)(read)
    over = threading.Event()

    async def reader() -> None:
        last = 0
        while not over.is_set():
            known = version
            found = await function()
            assert found >= last
            assert found >= known - 1  # the invalidation of this version may be yet to come
            last = found
            await asyncio.sleep(0)

    async def writer() -> None:
        nonlocal version
        try:
            for n in range(1, 2000):
                version = n
                function.cache_invalidate()
                await asyncio.sleep(0)
        finally:
            over.set()

    in_threads(reader(), reader(), writer())


class Stops:
    """A thread that stands still whenever it hashes a key, until it is told to go on."""

    def __init__(self, step: Callable[[], object]) -> None:
        self.step = step
        self.stands, self.goes_on = threading.Semaphore(0), threading.Semaphore(0)
        self.ended = False
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        self.step()
        self.ended = True
        self.stands.release()

    def stop(self) -> None:
        if threading.current_thread() is self.thread:
            self.stands.release()
            assert self.goes_on.acquire(timeout=LIMIT)

    def go_on(self) -> None:
        """Let it go on to the next stop, or to its end."""
        if not self.ended:
            self.goes_on.release()
            assert self.stands.acquire(timeout=LIMIT)


@pytest.mark.skipif(PYPY, reason="dict.setdefault() is two steps, if a key has methods")
@pytest.mark.parametrize("stops", list(itertools.combinations(range(10), 2)), ids=str)
def test_an_invalidation_beside_a_late_one(stops: Tuple[int, int]) -> None:
    """It is in effect when it returns, even if another thread stands in the same one."""

    class Key(str):
        __slots__ = ()
        __eq__ = str.__eq__

        def __hash__(self) -> int:
            other.stop()
            return super().__hash__()

    versions = itertools.count()

    @alru_cache
    async def version(key: str) -> int:
        return next(versions)

    async def main() -> None:
        old = await version("a")
        await version("b")
        other.thread.start()
        assert other.stands.acquire(timeout=LIMIT)
        for _ in range(stops[0]):
            other.go_on()
        version.cache_invalidate("b")
        await version("b")  # which applies the records
        for _ in range(*stops):
            other.go_on()
        version.cache_invalidate("a")
        assert await version("a") != old

    other = Stops(lambda: version.cache_invalidate(Key("a")))
    try:
        asyncio.run(main())
    finally:
        while not other.ended:
            other.go_on()
        other.thread.join()


@pytest.mark.parametrize("wait", [False, True])
def test_closing_while_others_call(switching: None, wait: bool) -> None:
    """A cache that is closed in one loop stays open in the others."""
    function: Any = alru_cache(maxsize=4, ttl=100)(this_loop)
    closed = threading.Event()

    async def caller() -> None:
        loop = asyncio.get_running_loop()
        while not closed.is_set():
            for key in range(6):
                assert await function(key) == (loop, key)
        assert not function.cache_parameters()["closed"]

    def open_and_close() -> None:
        async def main() -> None:
            callers = [asyncio.ensure_future(function(key)) for key in (1, 1, 2)]
            await asyncio.sleep(0)
            await function.cache_close(wait=wait)
            await asyncio.wait(callers)
            assert all(caller.cancelled() == (not wait) for caller in callers)
            assert function.cache_parameters()["closed"]
            with pytest.raises(RuntimeError, match="closed"):
                await function(1)

        for _ in range(30):
            run_alone(main())

    with warnings.catch_warnings():
        warnings.simplefilter("error", AlruCacheLoopResetWarning)
        in_threads(caller(), caller(), open_and_close, then=closed.set)
    function.cache_clear()


def test_never_above_maxsize(switching: None) -> None:
    """Whichever thread looks, with one loop and with several."""
    for loops in 1, 3:
        function: Any = alru_cache(maxsize=3)(this_loop)
        over = threading.Event()
        seen: List[int] = []

        def look(function: Any = function, over: Any = over, seen: Any = seen) -> None:
            while not over.is_set():
                seen.append(function.cache_info().currsize)

        async def main(function: Any = function) -> None:
            for n in range(CALLS):
                await asyncio.gather(*[function(n % 7 + k) for k in range(4)])
                if n % 50 == 0:
                    function.cache_invalidate(n % 7)

        in_threads(look, *[main() for _ in range(loops)], then=over.set)
        assert max(seen) <= 3 * loops
        assert max(seen) > 0
        function.cache_clear()


class Client:
    """An instance with its own cache."""

    def __init__(self, number: int) -> None:
        self.number = number

    @alru_cache(maxsize=4, ttl=1000, per_instance=True)
    async def get(self, key: int) -> Tuple[asyncio.AbstractEventLoop, int, int]:
        await asyncio.sleep(0)
        return asyncio.get_running_loop(), self.number, key


def test_first_call_of_one_instance(switching: None) -> None:
    """Threads call at once, each in its own loop: the instance keeps one set of caches."""
    clients = [Client(number) for number in range(CALLS)]
    ready, done = threading.Barrier(THREADS), threading.Barrier(THREADS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for client in clients:
            ready.wait(LIMIT)
            for _ in range(2):
                assert await client.get(1) == (loop, client.number, 1)
        done.wait(LIMIT)

    in_threads(*[main() for _ in range(THREADS)])
    for client in clients:
        assert client.get.cache_info() == (THREADS, THREADS, 4, THREADS)
        assert len(vars(client)) == 2


def test_instances_come_and_go(switching: None) -> None:
    """Two loops share instances, while other threads replace them, look and clear."""
    clients = [Client(number) for number in range(4)]
    over = threading.Event()

    async def use(seed: int) -> None:
        chance = random.Random(seed)
        loop = asyncio.get_running_loop()
        for _ in range(CALLS):
            client, key = chance.choice(clients), chance.randrange(6)
            assert await client.get(key) == (loop, client.number, key)

    def drop() -> None:
        for number in itertools.count(4):
            clients[number % 4] = Client(number)
            if over.is_set():
                return

    def meddle() -> None:
        while not over.is_set():
            Client.get.cache_clear()
            Client.get.cache_invalidate(clients[0], 1)
            Client.get.cache_contains(clients[1], 1)
            info = Client.get.cache_info()
            assert min(info.hits, info.misses, info.currsize) >= 0
            assert Client.get.cache_parameters()["tasks"] >= 0

    users = [use(seed) for seed in range(2)]
    in_threads(drop, meddle, *users, then=over.set)
    last = weakref.WeakSet(clients)
    clients.clear()
    gc.collect()
    collect()
    assert not last
    assert Client.get.cache_info() == (0, 0, 4, 0)


class Facts:
    """The versions of facts by key, and the cached function that reads them."""

    def __init__(self, **options: Any) -> None:
        self.versions = [0] * 6
        self.wrong: List[object] = []
        self.over = threading.Event()
        self.function: Any = alru_cache(**options)(self.read)

    async def read(self, key: int) -> Any:
        await asyncio.sleep(0)
        return asyncio.get_running_loop(), key, self.versions[key]

    async def use(self, chance: random.Random) -> None:
        for _ in range(10):
            key = chance.randrange(6)
            known = self.versions[key]
            loop, its_key, version = await self.function(key)
            # Another thread may have changed this version, and be yet to invalidate it.
            if loop is not asyncio.get_running_loop() or its_key != key or version < known - 1:
                self.wrong.append((loop, its_key, key, version, known))
        if chance.random() < 0.3:
            await self.function.cache_close(wait=chance.random() < 0.5)

    def come_and_go(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(self.use(chance))
            if chance.random() < 0.7:
                loop.close()  # else it is dropped

    def meddle(self) -> None:
        chance = random.Random(0)
        while not self.over.is_set():
            key = chance.randrange(6)
            self.versions[key] += 1
            self.function.cache_invalidate(key)
            if chance.random() < 0.1:
                self.function.cache_clear()

    def look(self) -> None:
        while not self.over.is_set():
            info = self.function.cache_info()
            self.function.cache_contains(3)
            tasks = self.function.cache_parameters()["tasks"]
            if min(info.hits, info.misses, info.currsize, tasks) < 0:
                self.wrong.append((info, tasks))


@pytest.mark.parametrize("options", [{"maxsize": 4}, {"maxsize": None, "ttl": 0.001}])
def test_loops_come_and_go(switching: None, options: Any) -> None:
    """Loops are closed or dropped, some with a closed cache, while other threads meddle."""
    facts = Facts(**options)
    # asyncio complains of loops that are dropped; free-threaded builds may fail there.
    hush = mock.patch("sys.unraisablehook", lambda _: None)  # noqa: PT008  # a Mock would keep them
    with warnings.catch_warnings(), hush:
        warnings.simplefilter("ignore")
        in_threads(
            facts.meddle,
            facts.look,
            *[functools.partial(facts.come_and_go, seed) for seed in range(3)],
            then=facts.over.set,
        )
        facts.function.cache_clear()
        info = facts.function.cache_info()
        tasks = facts.function.cache_parameters()["tasks"]
        wrong = facts.wrong
        del facts  # with what is left of the loops
        gc.collect()
        collect()
    assert wrong == []
    assert info.currsize == tasks == 0


@pytest.mark.skipif(not FREE_THREADED, reason="not a free-threaded build")
def test_free_threaded_builds_stay_free() -> None:
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined,unused-ignore]
