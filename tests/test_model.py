"""Any sequence of operations, beside a model of the contract that is written for reading."""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from typing import Any, Dict, List, Optional, Tuple, Union

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

from async_lru import alru_cache

from .helpers import clock_loop, draws, timers, turns

KEYS = st.integers(0, 4)
TTL = 10.0


# What a ttl function says of a result, by the number of its work; and what that means.
ANSWERS: List[Optional[float]] = [TTL, 2 * TTL, None, 0]
Ttl = Union[None, float, str]  # "function" for such a one

# How often each kind of step was taken, over all examples.
reached: "Counter[str]" = Counter()


class Work:
    """One run of the function: for a key, and for the callers that wait."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.callers: List[int] = []
        self.running = True


class Entry:
    """What is under a key: work, which may be a refresh, or a result, or both."""

    def __init__(self, work: Work) -> None:
        self.work: Optional[Work] = work
        self.result: Optional[int] = None  # the number of its work
        self.due = self.expires = float("inf")
        self.joined = True


class Model:
    """What the contract says, one operation after the other."""

    def __init__(
        self, maxsize: Optional[int], ttl: Ttl, jitter: float, refresh: Optional[float]
    ) -> None:
        self.maxsize = maxsize
        self.ttl = ttl
        self.jitter = jitter
        self.refresh = refresh
        self.draws = draws()
        self.now = 0.0
        self.hits = self.misses = 0
        self.entries: "OrderedDict[int, Entry]" = OrderedDict()  # least recently used first
        self.works: List[Work] = []
        self.outcomes: Dict[int, str] = {}  # of the callers
        self.closed = False

    def begin(self, key: int) -> Work:
        self.works.append(Work(key))
        return self.works[-1]

    def call(self, caller: int, key: int) -> None:
        if self.closed:
            self.outcomes[caller] = "closed"
            return
        entry = self.entries.get(key)
        if entry is not None:
            self.hits += 1
            self.entries.move_to_end(key)
        else:
            self.misses += 1
            entry = Entry(self.begin(key))
            if self.maxsize != 0:
                self.entries[key] = entry
            if self.maxsize is not None and len(self.entries) > self.maxsize:
                self.let_go(self.entries.popitem(last=False)[1])
        if entry.result is None or entry.expires <= self.now:
            assert entry.work is not None
            reached["joined at expiry"] += not entry.joined
            entry.joined = True
            self.outcomes[caller] = "waits"
            entry.work.callers.append(caller)
            return
        self.outcomes[caller] = f"result {entry.result}"
        if self.refresh is not None and entry.due <= self.now:
            reached["due, one runs" if entry.work else "due"] += 1
            if entry.work is None:
                entry.work = self.begin(key)
                entry.joined = False

    def let_go(self, entry: Entry) -> None:
        """It is no longer under its key."""
        if entry.work is not None and not entry.joined:
            reached["refresh dropped"] += 1
            entry.work.running = False

    def end(self, work: Work, outcome: str) -> None:
        work.running = False
        for caller in work.callers:
            self.outcomes[caller] = outcome
        entry = self.entries.get(work.key)
        if entry is None or entry.work is not work:
            return
        entry.work = None
        number = self.works.index(work)
        if outcome.startswith("result"):
            reached["refreshed"] += entry.result is not None
            self.keep(entry, number)
        elif entry.result is not None and self.now < entry.expires:
            assert self.refresh is not None
            reached["backed off"] += 1
            entry.due = self.now + self.refresh
        else:
            reached["refresh failed after expiry"] += entry.result is not None
            del self.entries[work.key]

    def keep(self, entry: Entry, number: int) -> None:
        key = self.works[number].key
        ttl = ANSWERS[number % len(ANSWERS)] if self.ttl == "function" else self.ttl
        entry.result = number
        if ttl == 0:
            reached["not kept"] += 1
            del self.entries[key]
        elif ttl is None and (self.refresh is None or self.ttl is None):
            reached["for ever"] += self.ttl is not None
            entry.due = entry.expires = float("inf")
        else:
            assert not isinstance(ttl, str)
            begins = self.now + (next(self.draws) * self.jitter if self.jitter else 0)
            entry.expires = begins + (float("inf") if ttl is None else ttl)
            entry.due = min(entry.expires, begins + (self.refresh or float("inf")))

    def cancel_caller(self, caller: int) -> None:
        self.outcomes[caller] = "cancelled"
        (work,) = (w for w in self.works if caller in w.callers)
        work.callers.remove(caller)
        if not work.callers:
            self.end(work, "cancelled")

    def invalidate(self, key: int) -> bool:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.let_go(entry)
        return entry is not None

    def clear(self) -> None:
        for entry in self.entries.values():
            self.let_go(entry)
        self.entries.clear()
        self.hits = self.misses = 0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for key, entry in list(self.entries.items()):
            if entry.expires <= self.now and entry.work is None and not self.closed:
                del self.entries[key]

    def close(self, wait: bool) -> None:
        self.closed = True
        for work in self.works:
            if work.running and not wait:
                self.end(work, "cancelled")

    def contains(self, key: int) -> bool:
        entry = self.entries.get(key)
        return entry is not None and (entry.work is not None or self.now < entry.expires)


def seldom() -> "st.SearchStrategy[bool]":
    """For what ends a story: without it few get anywhere."""
    return st.sampled_from([False] * 9 + [True])


class Machine(RuleBasedStateMachine):
    @initialize(
        maxsize=st.sampled_from([0, 1, 2, 3, None]),
        times=st.sampled_from([(None, 0.0), (TTL, 0.0), (TTL, TTL), ("function", TTL)]),
        refresh=st.sampled_from([None, TTL / 2]),
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
        self.loop = self.stack.enter_context(clock_loop())
        self.model = Model(maxsize, ttl, jitter, refresh)
        self.loop.set_exception_handler(lambda _, __: None)  # refreshes may fail
        self.works: List["asyncio.Future[str]"] = []
        self.callers: List["asyncio.Task[str]"] = []
        self.closing: List["asyncio.Task[None]"] = []

        async def function(key: int) -> str:
            work = self.loop.create_future()
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

        self.function: Any = Instance().method if per_instance else decorate(function)
        reached["per instance"] += per_instance

    def settle(self) -> None:
        self.loop.run_until_complete(turns(12))

    def running(self) -> List[int]:
        return [i for i, work in enumerate(self.model.works) if work.running]

    def waiting(self) -> List[int]:
        return [i for i, outcome in self.model.outcomes.items() if outcome == "waits"]

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), at_once=st.booleans())
    def call(self, keys: List[int], at_once: bool) -> None:
        self.call_each(keys, at_once)

    def call_each(self, keys: List[int], at_once: bool) -> None:
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
        self.pass_time(seconds)

    @precondition(lambda self: self.model.refresh is not None and self.model.maxsize != 0)
    @rule(
        key=KEYS,
        again=st.booleans(),
        later=st.sampled_from([0, TTL / 2, 3 * TTL]),
        how=st.sampled_from(["result", "failure", "cancelled", "not yet"]),
    )
    def refresh(self, key: int, again: bool, later: float, how: str) -> None:
        """A way to where few others get."""
        self.call_each([key], at_once=True)
        entry = self.model.entries.get(key)
        if entry is None or entry.result is None or entry.due == float("inf"):
            return
        self.pass_time(max(entry.due - self.model.now, 0))
        self.call_each([key] * (1 + again), at_once=False)
        self.pass_time(later)
        if again:
            self.call_each([key], at_once=False)
        if entry.work is not None and entry.work.running and how != "not yet":
            self.end(self.model.works.index(entry.work), how)

    def pass_time(self, seconds: float) -> None:
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
        self.settle()
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
        expiring = [e for e in model.entries.values() if self.is_queued(e)]
        count = not model.closed and bool(expiring)
        assert len(timers(self.loop)) == count

    def is_queued(self, entry: Entry) -> bool:
        return entry.result is not None and self.model.now < entry.expires < float("inf")

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


@pytest.mark.timeout(60)
def test_model() -> None:
    reached.clear()
    run_state_machine_as_test(  # type: ignore[no-untyped-call,unused-ignore]
        Machine,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    rare = {"due", "due, one runs", "joined at expiry", "refreshed", "backed off"}
    assert rare <= {name for name, count in reached.items() if count}, reached
