"""Any sequence of operations, beside a model of the contract that is written for reading."""

import asyncio
import contextlib
import warnings
from collections import Counter, OrderedDict
from typing import Any, Dict, List, Optional, Set, Tuple, Union

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from async_lru import AlruCacheLoopResetWarning, alru_cache

from .helpers import THOROUGH, ClockLoop, clock_loop, draws, timers, turns

EXAMPLES = 250 if THOROUGH else 50
KEYS = st.integers(0, 4)
TWO = st.integers(0, 1)
ONE_OR_ALL = st.sampled_from([0, 1, None])


# The numbers of an instance and of a loop; there are two of each.
Where = Tuple[int, int]
WHERE = st.tuples(TWO, TWO)
TTL = 10.0


# What a ttl function answers, by the number of the run that returned the result.
ANSWERS: List[Optional[float]] = [TTL, 2 * TTL, None, 0]
Ttl = Union[None, float, str]  # "function" for such a one


# How a refresh may end.
OUTCOMES = ["result", "result", "failure", "failure", "dropped", "closed", "not yet"]


# A ttl, and the jitter.
TIMES: List[Tuple[Ttl, float]] = [
    *((None, 0.0), (TTL, 0.0), (TTL, TTL), ("function", 0.0), ("function", TTL))
]


# How often each rare state was reached, over all examples, and those that must be reached.
reached: "Counter[str]" = Counter()
RARE = [
    *("due", "due, one runs", "due again after a failure", "refreshed", "backed off"),
    *("joined at expiry", "joined refresh failed", "failed too late", "refresh dropped"),
    *("not kept", "refreshed, not kept", "for ever", "for ever, but refreshed"),
    *("cached elsewhere", "invalidated in two loops", "cleared in two loops"),
    *("cleared through the class", "closed through the class, then met"),
    *("refused", "open, another loop closed", "closed, calls in flight elsewhere"),
    *("closed during a refresh", "a loop closed, results lost"),
    "a loop closed, its cache before",
]


class Work:
    """One run of the function, for a key of a cache and for the callers that wait."""

    def __init__(self, cache: "Cache", key: int) -> None:
        self.cache = cache
        self.key = key
        self.callers: List[int] = []
        self.running = True


class Entry:
    """What a cache holds under a key: a run, which may be a refresh, or a result, or both."""

    def __init__(self, work: Work) -> None:
        self.work: Optional[Work] = work
        self.result: Optional[int] = None  # the number of the run that returned it
        self.due = self.expires = float("inf")
        self.joined = True
        self.has_failed = False  # whether its last refresh has failed


class Model:
    """What the contract says about each operation."""

    def __init__(
        self, maxsize: Optional[int], ttl: Ttl, jitter: float, refresh: Optional[float]
    ) -> None:
        self.maxsize = maxsize
        self.ttl = ttl
        self.jitter = jitter
        self.refresh = refresh
        self.draws = draws()
        self.now = 0.0
        self.works: List[Work] = []
        self.outcomes: Dict[int, str] = {}  # of the callers
        # By instance and loop. Without per_instance there is only instance 0.
        self.caches: Dict[Tuple[int, int], Cache] = {}
        # The loops in which the cache is closed for all instances, those to come included.
        self.closed: Set[int] = set()
        # The closed event loops.
        self.gone: Set[int] = set()
        self.warned = False

    def enter(self, instance: int, loop: int, *, closes: bool = False) -> "Cache":
        """An instance's cache in a loop. A call that makes it drops those of closed loops."""
        cache = self.caches.get((instance, loop))
        if cache is None:
            lost = False
            for other in self.of(instance):
                if other.loop in self.gone and not (closes or loop in self.closed):
                    del self.caches[instance, other.loop]
                    lost |= bool(other.entries) and not other.closed
                    reached["a loop closed, its cache before"] += other.closed
            reached["a loop closed, results lost"] += lost
            self.warned |= lost
            cache = Cache(self, instance, loop)
            cache.closed = loop in self.closed
            reached["closed through the class, then met"] += cache.closed
            self.caches[instance, loop] = cache
        return cache

    def of(self, instance: Optional[int] = None, loop: Optional[int] = None) -> "List[Cache]":
        return [
            cache
            for cache in self.caches.values()
            if instance in (None, cache.instance) and loop in (None, cache.loop)
        ]

    def is_closed(self, instance: Optional[int], loop: int) -> bool:
        caches = self.of(instance, loop)
        return loop in self.closed or (bool(caches) and all(cache.closed for cache in caches))

    def running(self, caches: "List[Cache]") -> List[int]:
        return [
            number
            for number, work in enumerate(self.works)
            if work.running and work.cache in caches
        ]

    def cancel_caller(self, caller: int) -> int:
        """Return the loop that it ran in."""
        self.outcomes[caller] = "cancelled"
        (work,) = (w for w in self.works if caller in w.callers)
        work.callers.remove(caller)
        if not work.callers:
            work.cache.end(work, "cancelled")
        return work.cache.loop

    def invalidate(self, key: int, caches: "List[Cache]") -> bool:
        caches = [cache for cache in caches if cache.contains(key)]
        reached["invalidated in two loops"] += len(caches) > 1
        for cache in caches:
            cache.invalidate(key)
        return bool(caches)

    def clear(self, caches: "List[Cache]") -> None:
        full = [cache for cache in caches if cache.entries]
        reached["cleared in two loops"] += len({cache.loop for cache in full}) > 1
        reached["cleared through the class"] += len({cache.instance for cache in full}) > 1
        for cache in caches:
            cache.clear()

    def close(self, caches: "List[Cache]", wait: bool) -> None:
        others = [cache for cache in self.of() if cache not in caches]
        reached["closed, calls in flight elsewhere"] += bool(self.running(others))
        for cache in caches:
            cache.closed = True
        for number in [] if wait else self.running(caches):
            work = self.works[number]
            entry = work.cache.entries.get(work.key)
            reached["closed during a refresh"] += not (entry is None or entry.joined)
            work.cache.end(work, "cancelled")

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for cache in self.of():
            if not cache.closed and cache.loop not in self.gone:
                cache.expire()


class Cache:
    """The cache of one loop and one instance."""

    def __init__(self, model: Model, instance: int, loop: int) -> None:
        self.model = model
        self.instance = instance
        self.loop = loop
        self.hits = self.misses = 0
        self.entries: "OrderedDict[int, Entry]" = OrderedDict()  # least recently used first
        self.closed = False

    def begin(self, key: int) -> Work:
        self.model.works.append(Work(self, key))
        return self.model.works[-1]

    def call(self, caller: int, key: int) -> None:
        model = self.model
        others = [cache for cache in model.of() if cache is not self]
        if self.closed:
            model.outcomes[caller] = "closed"
            reached["refused"] += 1
            if all(cache.is_unused() for cache in model.of(self.instance)):
                reached["refused, nothing kept"] += 1
                for cache in model.of(self.instance):
                    del model.caches[cache.instance, cache.loop]
            return
        reached["open, another loop closed"] += any(
            cache.closed and cache.loop != self.loop for cache in others
        )
        entry = self.entries.get(key)
        if entry is not None:
            self.hits += 1
            self.entries.move_to_end(key)
        else:
            self.misses += 1
            reached["cached elsewhere"] += any(cache.contains(key) for cache in others)
            entry = Entry(self.begin(key))
            if model.maxsize != 0:
                self.entries[key] = entry
            if model.maxsize is not None and len(self.entries) > model.maxsize:
                self.let_go(self.entries.popitem(last=False)[1])
        if entry.result is None or entry.expires <= model.now:
            assert entry.work is not None
            reached["joined at expiry"] += not entry.joined
            entry.joined = True
            model.outcomes[caller] = "waits"
            entry.work.callers.append(caller)
            return
        model.outcomes[caller] = f"result {entry.result}"
        if model.refresh is not None and entry.due <= model.now:
            reached["due, one runs" if entry.work else "due"] += 1
            if entry.work is None:
                reached["due again after a failure"] += entry.has_failed
                entry.work = self.begin(key)
                entry.joined = False

    def is_unused(self) -> bool:
        """Whether an instance need not keep this cache."""
        used = self.hits or self.misses or self.entries or self.model.running([self])
        return not used and (not self.closed or self.loop in self.model.closed)

    def let_go(self, entry: Entry) -> None:
        """See to an entry that has been removed."""
        if entry.work is not None and not entry.joined:
            reached["refresh dropped"] += 1
            entry.work.running = False

    def end(self, work: Work, outcome: str) -> None:
        model = self.model
        work.running = False
        for caller in work.callers:
            model.outcomes[caller] = outcome
        entry = self.entries.get(work.key)
        if entry is None or entry.work is not work:
            return
        entry.work = None
        number = model.works.index(work)
        if outcome.startswith("result"):
            reached["refreshed"] += entry.result is not None
            self.keep(entry, number)
        elif entry.result is not None and model.now < entry.expires:
            assert model.refresh is not None
            reached["backed off"] += 1
            entry.has_failed = True
            entry.due = model.now + model.refresh
        else:
            if entry.result is not None:
                reached["joined refresh failed" if entry.joined else "failed too late"] += 1
            del self.entries[work.key]

    def keep(self, entry: Entry, number: int) -> None:
        model = self.model
        key = model.works[number].key
        ttl = ANSWERS[number % len(ANSWERS)] if model.ttl == "function" else model.ttl
        again, entry.result, entry.has_failed = entry.result is not None, number, False
        if ttl == 0:
            reached["refreshed, not kept" if again else "not kept"] += 1
            del self.entries[key]
        elif ttl is None and (model.refresh is None or model.ttl is None):
            reached["for ever"] += model.ttl is not None
            entry.due = entry.expires = float("inf")
        else:
            assert not isinstance(ttl, str)
            begins = model.now + (next(model.draws) * model.jitter if model.jitter else 0)
            reached["for ever, but refreshed"] += ttl is None
            entry.expires = begins + (float("inf") if ttl is None else ttl)
            entry.due = min(entry.expires, begins + (model.refresh or float("inf")))

    def invalidate(self, key: int) -> None:
        self.let_go(self.entries.pop(key))

    def clear(self) -> None:
        for entry in self.entries.values():
            self.let_go(entry)
        self.entries.clear()
        self.hits = self.misses = 0

    def expire(self) -> None:
        for key, entry in list(self.entries.items()):
            if entry.expires <= self.model.now and entry.work is None:
                del self.entries[key]

    def contains(self, key: int) -> bool:
        entry = self.entries.get(key)
        return entry is not None and (entry.work is not None or self.model.now < entry.expires)


def seldom(once_in: int = 10) -> "st.SearchStrategy[bool]":
    """Return True seldom: for operations that end what the others have built up."""
    return st.sampled_from([False] * (once_in - 1) + [True])


class Machine(RuleBasedStateMachine):
    @initialize(
        maxsize=st.sampled_from([0, 1, 2, 3, None]),
        times=st.sampled_from(TIMES),
        refresh=st.sampled_from([None, TTL / 4, TTL / 4]),
        per_instance=st.booleans(),
    )
    def decorate(
        self,
        maxsize: Optional[int],
        times: Tuple[Ttl, float],
        refresh: Optional[float],
        per_instance: bool,
    ) -> None:
        ttl, jitter = times
        if ttl is None:
            refresh = None
        self.stack = contextlib.ExitStack()
        self.warned = self.stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        self.loops: List[ClockLoop] = []
        # The numbers of the two loops that are not closed.
        self.open = [self.add_loop(self.stack.enter_context(clock_loop()))]
        self.open.append(self.start_loop())
        self.model = Model(maxsize, ttl, jitter, refresh)
        self.works: List["asyncio.Future[str]"] = []
        self.callers: List["asyncio.Task[str]"] = []
        self.closing: List[Tuple["asyncio.Task[None]", List[Cache]]] = []

        async def function(key: int) -> str:
            work = asyncio.get_running_loop().create_future()
            self.works.append(work)
            return await work  # type: ignore[no-any-return]

        def say(result: str) -> Optional[float]:
            return ANSWERS[int(result.split()[1]) % len(ANSWERS)]

        decorate: Any = alru_cache(
            maxsize=maxsize,
            ttl=say if isinstance(ttl, str) else ttl,
            jitter=jitter or None,
            refresh=refresh,
            per_instance=per_instance,
        )

        class Instance:
            async def fetch(self, key: int) -> str:
                return await function(key)

            method = decorate(fetch)

        # The function, which reaches all caches, and the bound method of each instance.
        self.whole: Any = Instance.method if per_instance else decorate(function)
        self.functions = [Instance().method, Instance().method] if per_instance else []
        reached["per instance"] += per_instance

    def start_loop(self) -> int:
        loop = ClockLoop()
        loop.now = self.loops[0].now
        self.stack.callback(loop.close)
        return self.add_loop(loop)

    def add_loop(self, loop: ClockLoop) -> int:
        loop.set_exception_handler(lambda _, __: None)  # refreshes may fail
        self.loops.append(loop)
        return len(self.loops) - 1

    def function(self, instance: int) -> Any:
        return self.functions[instance] if self.functions else self.whole

    def settle(self, *loops: int) -> None:
        for loop in loops or self.open:
            self.loops[loop].run_until_complete(turns(8))

    def running(self) -> List[int]:
        return self.model.running(self.model.of())

    def waiting(self) -> List[int]:
        return [i for i, outcome in self.model.outcomes.items() if outcome == "waits"]

    @rule(where=WHERE, keys=st.lists(KEYS, min_size=1, max_size=4), at_once=st.booleans())
    def call(self, where: Where, keys: List[int], at_once: bool) -> None:
        self.call_each(where, keys, at_once)

    @rule(key=KEYS, at_once=st.booleans(), clear=seldom(), close=seldom())
    def call_everywhere(self, key: int, at_once: bool, clear: bool, close: bool) -> None:
        for instance in range(len(self.functions) or 1):
            for loop in 0, 1:
                self.call_each((instance, loop), [key], at_once)
        self.clear(clear, None)
        self.close(close, (0, 0), whole=True, wait=False)

    def cache(self, where: Where, *, closes: bool = False) -> Cache:
        instance, loop = where
        own = instance if self.functions else 0
        return self.model.enter(own, self.open[loop], closes=closes)

    def call_each(self, where: Where, keys: List[int], at_once: bool) -> None:
        cache = self.cache(where)
        for key in keys:
            cache.call(len(self.callers), key)
            call = self.function(cache.instance)(key)
            self.callers.append(self.loops[cache.loop].create_task(call))
            self.settle(cache.loop)
            if at_once and self.model.running([cache]):
                self.end(self.model.running([cache])[-1], "result")

    @precondition(lambda self: self.running())
    @rule(data=st.data(), how=st.sampled_from(["result", "failure", "cancelled"]))
    def end_work(self, data: Any, how: str) -> None:
        self.end(data.draw(st.sampled_from(self.running())), how)

    def end(self, number: int, how: str) -> None:
        outcome = how if how == "cancelled" else f"{how} {number}"
        work = self.model.works[number]
        work.cache.end(work, outcome)
        if how == "result":
            self.works[number].set_result(f"result {number}")
        elif how == "failure":
            self.works[number].set_exception(ValueError(f"failure {number}"))
        else:
            self.works[number].cancel()
        self.settle(work.cache.loop)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def cancel_caller(self, data: Any) -> None:
        caller = data.draw(st.sampled_from(self.waiting()))
        loop = self.model.cancel_caller(caller)
        self.callers[caller].cancel()
        self.settle(loop)

    @rule(instance=TWO, key=KEYS)
    def invalidate(self, instance: int, key: int) -> None:
        expected = self.model.invalidate(key, self.caches(instance))
        assert self.function(instance).cache_invalidate(key) == expected
        self.settle()

    @rule(now=seldom(), instance=ONE_OR_ALL)
    def clear(self, now: bool, instance: Optional[int]) -> None:
        if now:
            self.model.clear(self.caches(instance))
            self.bound(instance).cache_clear()
            self.settle()

    def caches(self, instance: Optional[int]) -> List[Cache]:
        """The model's caches of one instance, or of all."""
        return self.model.of(instance if self.functions else None)

    def bound(self, instance: Optional[int]) -> Any:
        return self.whole if instance is None else self.function(instance)

    @rule(seconds=st.sampled_from([1.0, TTL / 2, TTL]))
    def advance(self, seconds: float) -> None:
        self.pass_time(seconds)

    @precondition(lambda self: self.model.refresh is not None and self.model.maxsize != 0)
    @rule(
        where=WHERE,
        key=KEYS,
        again=st.booleans(),
        later=st.sampled_from([0, TTL, 3 * TTL]),
        hows=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=3),
    )
    def refresh(
        self, where: Where, key: int, again: bool, later: float, hows: List[str]
    ) -> None:
        """Reach the states of refreshes, which random operations seldom do."""
        for how in hows:
            self.refresh_once(where, key, again, later, how)

    def refresh_once(
        self, where: Where, key: int, again: bool, later: float, how: str
    ) -> None:
        self.call_each(where, [key], at_once=True)
        entry = self.cache(where).entries.get(key)
        if entry is None or entry.result is None or entry.due == float("inf"):
            return
        self.pass_time(max(entry.due - self.model.now, 0))
        self.call_each(where, [key] * (1 + again), at_once=False)
        self.pass_time(later)
        if again:
            self.call_each(where, [key], at_once=False)
        if how == "dropped":
            self.invalidate(where[0], key)
        elif how == "closed":
            self.close(True, where, whole=again, wait=False)
        elif entry.work is not None and entry.work.running and how != "not yet":
            self.end(self.model.works.index(entry.work), how)
            if how == "failure":
                self.pass_time(TTL / 4)
                self.call_each(where, [key], at_once=False)

    def pass_time(self, seconds: float) -> None:
        self.model.advance(seconds)
        for loop in self.loops:
            loop.now += seconds
        self.settle()

    @rule(now=seldom(), where=WHERE, whole=st.booleans(), wait=st.booleans())
    def close(self, now: bool, where: Where, whole: bool, wait: bool) -> None:
        if not now:
            return
        whole = whole and bool(self.functions)
        loop = self.open[where[1]]
        if whole:
            self.model.closed.add(loop)
        caches = self.model.of(None, loop) if whole else [self.cache(where, closes=True)]
        self.model.close(caches, wait)
        closing = self.bound(None if whole else where[0]).cache_close(wait=wait)
        self.closing.append((self.loops[loop].create_task(closing), caches))
        self.settle(loop)
        if whole:
            self.call_each((1 - where[0], where[1]), [0], at_once=False)

    @rule(now=seldom(4), which=TWO)
    def change_loop(self, now: bool, which: int) -> None:
        """An application ends with its loop, and starts again in a new one."""
        loop = self.open[which]
        if not now and not self.model.is_closed(None, loop):
            return
        for number in self.model.running(self.model.of(None, loop)):
            self.end(number, "cancelled")
        self.settle(loop)
        self.loops[loop].close()
        self.model.gone.add(loop)
        self.open[which] = self.start_loop()

    @invariant()
    def agree(self) -> None:
        model = self.model
        for instance in [None, 0, 1] if self.functions else [None]:
            caches, bound = self.caches(instance), self.bound(instance)
            assert bound.cache_info() == (
                sum(cache.hits for cache in caches),
                sum(cache.misses for cache in caches),
                model.maxsize,
                sum(len(cache.entries) for cache in caches),
            )
            for key in () if instance is None and self.functions else range(5):
                contained = any(cache.contains(key) for cache in caches)
                assert bound.cache_contains(key) == contained
            assert bound.cache_parameters()["tasks"] == len(model.running(caches))
        assert len(self.works) == len(model.works)
        outcomes = {i: self.outcome(caller) for i, caller in enumerate(self.callers)}
        assert outcomes == model.outcomes
        for closing, caches in self.closing:
            assert closing.done() == (not model.running(caches))
        for loop in self.open:
            expiring = [cache for cache in model.of(None, loop) if self.has_timer(cache)]
            assert len(timers(self.loops[loop])) == len(expiring)
        # The collector may warn at any time about objects of other tests.
        warned = [warned.category for warned in self.warned]
        assert [category for category in warned if category is not ResourceWarning] == (
            [AlruCacheLoopResetWarning] if model.warned else []
        )

    def has_timer(self, cache: Cache) -> bool:
        return not cache.closed and any(
            entry.result is not None and self.model.now < entry.expires < float("inf")
            for entry in cache.entries.values()
        )

    @invariant()
    def agree_on_what_is_closed(self) -> None:
        async def closed(instance: Optional[int]) -> bool:
            answer: bool = self.bound(instance).cache_parameters()["closed"]
            return answer

        for loop in self.open if self.closing else []:
            for instance in [None, 0, 1] if self.functions else [None]:
                answer = self.loops[loop].run_until_complete(closed(instance))
                expected = self.model.is_closed(instance, loop)
                if instance is None and self.functions and loop not in self.model.closed:
                    # An exception may keep another instance alive, which is open.
                    assert answer <= expected
                else:
                    assert answer == expected

    @staticmethod
    def outcome(caller: "asyncio.Task[str]") -> str:
        if not caller.done():
            return "waits"
        if caller.cancelled():
            return "cancelled"
        error = caller.exception()
        if error is None:
            return caller.result()
        return "closed" if isinstance(error, RuntimeError) else str(error)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            for caller in self.callers:
                caller.cancel()
            self.settle()
            for loop in map(self.loops.__getitem__, self.open):
                loop.run_until_complete(self.whole.cache_close())
                assert asyncio.all_tasks(loop) == set()
            self.stack.close()


@pytest.mark.timeout(300)  # on a busy machine, where tracing or PyPy take their time
def test_model() -> None:
    reached.clear()
    for _ in range(1250 // EXAMPLES):  # a single run may miss a rare state
        run_state_machine_as_test(  # type: ignore[no-untyped-call,unused-ignore]
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=40,
                deadline=None,
                derandomize=False,  # else each run in CI would be the same
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
        if all(reached[name] for name in RARE):
            break
    assert [name for name in RARE if not reached[name]] == []
