"""Any sequence of operations, beside a model of the contract that is written for reading."""

import asyncio
import contextlib
from collections import OrderedDict
from typing import Any, Dict, List, Optional, Tuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from async_lru import alru_cache

from .helpers import clock_loop, draws, timers, turns

KEYS = st.integers(0, 4)
TTL = 10.0


class Work:
    """One run of the function: for a key, and for the callers that wait."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.callers: List[int] = []
        self.running = True
        self.expires = float("inf")


class Model:
    """What the contract says, one operation after the other."""

    def __init__(self, maxsize: Optional[int], ttl: Optional[float], jitter: float) -> None:
        self.maxsize = maxsize
        self.ttl = ttl
        self.jitter = jitter
        self.draws = draws()
        self.now = 0.0
        self.hits = self.misses = 0
        self.entries: "OrderedDict[int, Work]" = OrderedDict()  # least recently used first
        self.works: List[Work] = []
        self.outcomes: Dict[int, str] = {}  # of the callers
        self.closed = False

    def call(self, caller: int, key: int) -> None:
        if self.closed:
            self.outcomes[caller] = "closed"
            return
        work = self.entries.get(key)
        if work is not None:
            self.hits += 1
            self.entries.move_to_end(key)
        else:
            self.misses += 1
            work = Work(key)
            self.works.append(work)
            if self.maxsize != 0:
                self.entries[key] = work
            if self.maxsize is not None and len(self.entries) > self.maxsize:
                self.entries.popitem(last=False)
        if work.running:
            self.outcomes[caller] = "waits"
            work.callers.append(caller)
        else:
            self.outcomes[caller] = f"result {self.works.index(work)}"

    def forget(self, work: Work) -> None:
        if self.entries.get(work.key) is work:
            del self.entries[work.key]

    def end(self, work: Work, outcome: str) -> None:
        work.running = False
        for caller in work.callers:
            self.outcomes[caller] = outcome
        if not outcome.startswith("result"):
            self.forget(work)
        elif self.ttl is not None and self.entries.get(work.key) is work:
            jitter = next(self.draws) * self.jitter if self.jitter else 0
            work.expires = self.now + self.ttl + jitter

    def cancel_caller(self, caller: int) -> None:
        self.outcomes[caller] = "cancelled"
        (work,) = (w for w in self.works if caller in w.callers)
        work.callers.remove(caller)
        if not work.callers:
            self.end(work, "cancelled")

    def invalidate(self, key: int) -> bool:
        return self.entries.pop(key, None) is not None

    def clear(self) -> None:
        self.entries.clear()
        self.hits = self.misses = 0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for key, work in list(self.entries.items()):
            if work.expires <= self.now and not self.closed:
                del self.entries[key]

    def close(self, wait: bool) -> None:
        self.closed = True
        for work in self.works:
            if work.running and not wait:
                self.end(work, "cancelled")

    def contains(self, key: int) -> bool:
        return key in self.entries and self.now < self.entries[key].expires


def seldom() -> "st.SearchStrategy[bool]":
    """For what ends a story: without it few get anywhere."""
    return st.sampled_from([False] * 9 + [True])


class Machine(RuleBasedStateMachine):
    @initialize(
        maxsize=st.sampled_from([0, 1, 2, 3, None]),
        times=st.sampled_from([(None, 0.0), (TTL, 0.0), (TTL, TTL)]),
    )
    def decorate(self, maxsize: Optional[int], times: Tuple[Optional[float], float]) -> None:
        ttl, jitter = times
        self.stack = contextlib.ExitStack()
        self.loop = self.stack.enter_context(clock_loop())
        self.model = Model(maxsize, ttl, jitter)
        self.works: List["asyncio.Future[str]"] = []
        self.callers: List["asyncio.Task[str]"] = []
        self.closing: List["asyncio.Task[None]"] = []

        @alru_cache(maxsize=maxsize, ttl=ttl, jitter=jitter or None)
        async def function(key: int) -> str:
            work = self.loop.create_future()
            self.works.append(work)
            return await work  # type: ignore[no-any-return]

        self.function: Any = function

    def settle(self) -> None:
        self.loop.run_until_complete(turns(12))

    def running(self) -> List[int]:
        return [i for i, work in enumerate(self.model.works) if work.running]

    def waiting(self) -> List[int]:
        return [i for i, outcome in self.model.outcomes.items() if outcome == "waits"]

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), at_once=st.booleans())
    def call(self, keys: List[int], at_once: bool) -> None:
        for key in keys:
            self.model.call(len(self.callers), key)
            self.callers.append(self.loop.create_task(self.function(key)))
            self.settle()
            if at_once and self.running():
                self.end(self.running()[-1], "result")

    @precondition(lambda self: self.running())
    @rule(data=st.data(), how=st.sampled_from(["result", "failure", "cancelled"]))
    def end_work(self, data: Any, how: str) -> None:
        self.end(data.draw(st.sampled_from(self.running())), how)

    def end(self, number: int, how: str) -> None:
        outcome = how if how == "cancelled" else f"{how} {number}"
        self.model.end(self.model.works[number], outcome)
        if how == "result":
            self.works[number].set_result(f"result {number}")
        elif how == "failure":
            self.works[number].set_exception(ValueError(f"failure {number}"))
        else:
            self.works[number].cancel()
        self.settle()

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def cancel_caller(self, data: Any) -> None:
        caller = data.draw(st.sampled_from(self.waiting()))
        self.model.cancel_caller(caller)
        self.callers[caller].cancel()
        self.settle()

    @rule(key=KEYS)
    def invalidate(self, key: int) -> None:
        expected = self.model.contains(key) and self.model.invalidate(key)
        assert self.function.cache_invalidate(key) == expected

    @rule(now=seldom())
    def clear(self, now: bool) -> None:
        if now:
            self.model.clear()
            self.function.cache_clear()

    @rule(seconds=st.sampled_from([1.0, TTL / 2, TTL]))
    def advance(self, seconds: float) -> None:
        self.model.advance(seconds)
        self.loop.now += seconds
        self.settle()

    @rule(now=seldom(), wait=st.booleans())
    def close(self, now: bool, wait: bool) -> None:
        if now:
            self.model.close(wait)
            self.closing.append(self.loop.create_task(self.function.cache_close(wait=wait)))
            self.settle()

    @invariant()
    def agree(self) -> None:
        model = self.model
        assert self.function.cache_info() == (
            model.hits,
            model.misses,
            model.maxsize,
            len(model.entries),
        )
        for key in range(5):
            assert self.function.cache_contains(key) == model.contains(key)
        assert self.function.cache_parameters()["tasks"] == len(self.running())
        assert len(self.works) == len(model.works)
        outcomes = {i: self.outcome(caller) for i, caller in enumerate(self.callers)}
        assert outcomes == model.outcomes
        assert all(closing.done() == (not self.running()) for closing in self.closing)
        self.loop.run_until_complete(turns(1))  # no timer is left once the loop has turned
        expiring = [w for w in model.entries.values() if w.expires < float("inf")]
        assert len(timers(self.loop)) == (not model.closed and bool(expiring))

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
        if hasattr(self, "loop"):
            for caller in self.callers:
                caller.cancel()
            self.settle()
            self.loop.run_until_complete(self.function.cache_close())
            assert asyncio.all_tasks(self.loop) == set()
            self.stack.close()


TestModel = Machine.TestCase
TestModel.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestModel = pytest.mark.timeout(60)(TestModel)
