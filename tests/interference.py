"""Something else happens in the middle of a step: the engine of ``test_interference``.

A *scenario* is what goes on, a small coroutine function; its steps are watched, and each line
of the library in them, or each call of a key's ``__hash__`` and ``__eq__``, is a *moment*. A
*plan* says which *actions* come at which moments. Then the world is looked at: every promise
holds as if they had come just before or just after.
"""

import asyncio
import contextlib
import gc
import itertools
import math
import os
import pathlib
import random
import sys
import types
import weakref
from typing import (
    Any,
    Awaitable,
    Callable,
    Dict,
    Generator,
    Iterator,
    List,
    Optional,
    Set,
    Tuple,
)

import async_lru

from .helpers import PYPY, ClockLoop, Thing, timers, turns

PACKAGE = str(pathlib.Path(async_lru.__file__).parent) + os.sep
TTL = 10.0
REFRESH = 4.0
# A tracer may leave a frame in a cycle with its variables. (PEP 667)
TRACED_FRAMES_STAY = sys.version_info < (3, 13)

Action = Callable[["World"], None]
Plan = Dict[int, Action]
Scenario = Callable[["World"], Awaitable[None]]


class Watch:
    """Counts moments while it is on, and does what is planned for them."""

    def __init__(self) -> None:
        self.on = False

    def start(self, plan: Plan, world: "World", coverage: Any) -> None:
        self.plan = plan
        self.coverage = coverage
        self.world = world
        self.moments = self.fired = 0

    def moment(self) -> None:
        if not self.on:
            return
        action = self.plan.get(self.moments)
        self.moments += 1
        if action is None:
            return
        self.fired += 1
        self.on = False
        try:
            action(self.world)
        except BaseException as error:  # noqa: BLE001
            self.world.problems.append(f"the action raised {error!r}")
        if self.fired < len(self.plan):
            self.on = True
        else:
            trace(None)  # nothing is to come: what is left takes half the time


@contextlib.contextmanager
def traced_by(tracer: Any) -> Iterator[Any]:
    """The one that was there before is given, and is back in the end."""
    before = sys.gettrace()
    trace(tracer)
    try:
        yield before
    finally:
        trace(before)


def trace(tracer: Any) -> None:
    if sys.gettrace() is not tracer:  # to set it takes a while
        sys.settrace(tracer)


def line_by_line(moment: Callable[[], None], coverage: Any) -> Any:
    """A tracer that has the moment called at each line of the library, beside coverage."""

    def begin(frame: types.FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        also = None
        if coverage:
            also = coverage(frame, event, arg)
            sys.settrace(begin)  # coverage has just put itself in this place

        def line(frame: types.FrameType, event: str, arg: Any) -> Any:
            if event == "line":
                moment()
            if also:
                also(frame, event, arg)
            return line

        return line

    return begin


class Key:
    """A key whose methods are moments."""

    def __init__(self, number: int, moment: Callable[[], None]) -> None:
        self.number = number
        self.moment = moment

    def __hash__(self) -> int:
        self.moment()
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        self.moment()
        return isinstance(other, Key) and self.number == other.number


@types.coroutine
def resume(begun: Any, waits_for: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that was begun by ``send``, in the task that awaits this."""
    yield waits_for
    return (yield from begun)


class World:
    """A cached function, the facts that its results are made from, and its callers."""

    def __init__(
        self, loop: ClockLoop, options: Dict[str, Any], watch: Watch, by_key: bool
    ) -> None:
        self.loop = loop
        self.ttl: float = options.get("ttl", math.inf)
        self.maxsize: Optional[int] = options.get("maxsize", 128)
        self.watch = watch
        self.by_key = by_key
        self.problems: List[str] = []
        # By key; a result has the version of the facts that it was made from.
        self.versions: Dict[int, int] = {}
        self.failing: Set[int] = set()
        self.works = 0
        self.at_once = False
        self.last_work: Any = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks: List["asyncio.Task[None]"] = []
        self.half_run: List[Tuple[Any, Any]] = []
        self.closing: List[Any] = []
        self.may_be_cancelled = self.closed = False
        # By key, what has been dropped and not been called since, and who is calling.
        self.absent: Set[int] = set()
        self.calling: List[int] = []
        # The calls that are to be in the counters, at least and at most.
        self.calls = self.calls_since_clear = 0
        # With per_instance, the one that is called, and those that are to be gone.
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
        made_from = self.versions.get(number, 0)
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
        """What is called."""
        if self.instance is None:
            return self.function
        return self.function.__get__(self.instance)

    def key(self, number: int) -> Any:
        return Key(number, self.watch.moment) if self.by_key else number

    def complain(self, loop: Any, context: Dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(
            error, ValueError
        ):  # that may be one that nobody was left to receive
            self.problems.append(f"logged {context.get('message')}: {error!r}")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        moment = self.watch.moment
        tracer = None if self.by_key else line_by_line(moment, self.watch.coverage)
        self.watch.on = True
        with traced_by(tracer):
            yield
        self.watch.on = False

    # What scenarios, and actions, do

    async def call(self, number: int, cancelled: bool = False) -> None:
        """Call, and look at the outcome."""
        known = self.versions.get(number, 0)
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
            if its_number != number or not known <= version <= self.versions.get(number, 0):
                self.problems.append(f"got {result} for {number} of version {known}")
            self.expect(self.loop.now - at < self.ttl, "got an expired result")
        finally:
            self.calling.remove(number)
            self.absent.discard(number)

    def begin(self, number: int, cancelled: bool = False) -> "asyncio.Task[None]":
        self.tasks.append(self.loop.create_task(self.call(number, cancelled)))
        return self.tasks[-1]

    def begin_half(self, number: int) -> None:
        """A caller that has begun and waits, to be let go of."""
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

    def invalidate(self, number: int) -> None:
        self.versions[number] = self.versions.get(number, 0) + 1  # the facts have changed
        self.absent.discard(number)
        self.callable.cache_invalidate(self.key(number))
        self.absent.add(number)
        self.look_for(number)

    def begin_anew(self) -> None:
        for number in range(6):
            self.versions[number] = self.versions.get(number, 0) + 1
        self.calls_since_clear = 0

    def clear(self) -> None:
        self.begin_anew()
        self.absent.clear()
        self.function.cache_clear()
        self.absent.update(range(6))
        if self.function.cache_info().currsize:
            self.problems.append("not empty though cleared")

    def drop(self) -> None:
        """The instance goes, with its last call at the latest; there is a new one."""
        if self.instance is None or PYPY:  # there only the collector would see to it
            return
        self.begin_anew()
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
        if self.maxsize is None:
            self.expect(info.currsize >= 0, info)
        else:
            self.expect(0 <= info.currsize <= self.maxsize * instances, info)

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
        """As its task would be, which takes its step later."""
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
        self.tasks += [self.loop.create_task(_await(closing)) for closing in self.closing]
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

    async def look_around(self) -> None:
        function = self.function
        await self.finish()
        self.expect(self.running() == 0, "something runs")
        if self.dropped and TRACED_FRAMES_STAY:
            gc.collect()
        self.expect(not any(dropped() for dropped in self.dropped), "an instance is kept")
        self.look()
        info = function.cache_info()
        low = 0 if self.closed else self.calls_since_clear
        self.expect(low <= info.hits + info.misses <= self.calls, (low, self.calls, info))
        self.failing.clear()
        if function.cache_parameters()["closed"]:
            await self.expect_refusal()
        await self.call(1)  # what has been dropped is not served
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
        self.expect(asyncio.all_tasks() == {asyncio.current_task()}, "a task is left")
        for handle in timers(self.loop):
            handle.cancel()


async def _await(awaitable: Any) -> Any:
    return await awaitable


# Scenarios


async def hit(world: World) -> None:
    await world.call(1)
    with world.watched():
        await world.call(1)


async def miss(world: World) -> None:
    with world.watched():
        await world.call(1)


async def join(world: World) -> None:
    world.gate.clear()
    world.begin(1)
    await turns()
    with world.watched():
        second = world.begin(1)
        await turns(2)
        world.gate.set()
        await asyncio.wait([second])


async def evict(world: World) -> None:
    await world.call(2)
    await world.call(3)
    with world.watched():
        await world.call(1)


async def evict_pending(world: World) -> None:
    world.gate.clear()
    for number in 2, 1:
        world.begin(number)
    await turns()
    with world.watched():
        last = world.begin(3)
        await turns(2)
        world.gate.set()
        await asyncio.wait([last])


async def expire(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
        world.loop.now += TTL / 2
    with world.watched():
        world.loop.now += 1
        await turns(2)
    world.expect(not world.function.cache_contains(world.key(1)), "not expired")


async def expired_and_called(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
    world.loop.now += TTL
    with world.watched():  # the timer has yet to run
        world.begin(1)
        await turns(1)  # up to where it waits; what follows is as after any miss


async def fail(world: World) -> None:
    world.failing.add(1)
    with world.watched():
        await world.call(1)


async def cancel(world: World) -> None:
    world.gate.clear()
    world.begin(1)
    caller = world.begin(1, cancelled=True)
    await turns()
    with world.watched():
        caller.cancel()
        await turns(3)
    world.expect(caller.done(), "a cancelled caller goes on")


async def cancel_the_only(world: World) -> None:
    world.gate.clear()
    caller = world.begin(1, cancelled=True)
    await turns()
    with world.watched():
        caller.cancel()
        await turns(4)
    world.expect(caller.done(), "a cancelled caller goes on")
    world.gate.set()
    await world.call(1)


async def invalidate(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
    with world.watched():
        world.invalidate(1)
        world.begin(1)
        await turns(1)  # up to where it waits; what follows is as after any miss


async def clear(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
    with world.watched():
        world.clear()
        world.begin(1)
        await turns(1)  # up to where it waits; what follows is as after any miss


async def close(world: World) -> None:
    world.gate.clear()
    world.begin(1)
    await turns()
    with world.watched():
        world.begin_close()
        await turns(3)


async def let_go(world: World) -> None:
    world.gate.clear()
    world.begin_half(1)
    await turns()
    with world.watched():
        world.let_go()
        await turns(3)


async def look(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
    with world.watched():
        world.look()


async def drop(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
    with world.watched():
        world.drop()
        await turns(3)


async def wrong_arguments(world: World) -> None:
    with world.watched(), contextlib.suppress(TypeError, RuntimeError):
        await world.callable(world.key(1), 2)
    world.expect_works(0)


# With a refresh


async def due(world: World) -> None:
    await world.call(1)
    world.loop.now += REFRESH
    with world.watched():
        await world.call(1)
        await turns(3)
    world.expect_works(2)


async def due_and_dropped(world: World) -> None:
    """A refresh that takes its time is cancelled, wherever its entry is dropped."""
    await world.call(1)
    world.loop.now += REFRESH
    world.gate.clear()
    with world.watched():
        caller = world.begin(1)
        await turns(2)
    await turns(3)
    if caller.done() and not world.callable.cache_contains(world.key(1)):
        world.expect(world.running() == 0, "a refresh goes on for nobody")
    world.expect_works(2)


async def due_and_eager(world: World) -> None:
    """The refresh returns before the call does."""
    world.at_once = True
    await world.call(1)
    world.loop.now += REFRESH
    factory: Any = getattr(asyncio, "eager_task_factory", None)
    world.loop.set_task_factory(factory)
    with world.watched():
        await world.call(1)
        await turns()
    world.loop.set_task_factory(None)
    world.expect_works(2)


async def refreshing(world: World, until: float = REFRESH) -> None:
    """Have a refresh of 1 that runs, and a result of so many seconds."""
    await world.call(1)
    world.loop.now += REFRESH
    world.gate.clear()
    await world.call(1)
    await turns(2)
    world.loop.now += until - REFRESH


async def due_while_it_runs(world: World) -> None:
    await refreshing(world)
    with world.watched():
        world.begin(1)
        await turns(2)
        world.gate.set()
        await turns(3)
    world.expect_works(2)


async def refresh_fails(world: World) -> None:
    await world.call(1)
    world.failing.add(1)
    with world.watched():
        for seconds in REFRESH, 1, REFRESH - 1:  # due, backing off, due again
            world.loop.now += seconds
            await world.call(1)
            await turns(3)
    world.expect_works(3)
    world.loop.now += 2  # it has expired; its ttl is not prolonged
    await world.call(1)
    world.expect_works(4)


async def refresh_cancelled(world: World) -> None:
    await refreshing(world)
    with world.watched():
        world.last_work.cancel()
        await turns(3)
    world.gate.set()
    await world.call(1)


async def refresh_expires(world: World) -> None:
    """Its failure is nobody's, and its entry goes."""
    await refreshing(world, TTL)
    world.failing.add(1)
    with world.watched():
        await turns(2)
        world.gate.set()
        await turns(2)
    world.expect_works(2)


async def join_refresh(world: World) -> None:
    await refreshing(world, TTL)
    with world.watched():
        first = world.begin(1)  # before the timer has run
        await turns(2)
        world.begin(1)
        world.gate.set()
        await turns(3)
    world.expect(first.done(), "who has joined hangs")
    world.expect_works(2)


async def join_and_fail(world: World) -> None:
    await refreshing(world, TTL)
    await turns(2)
    world.failing.add(1)
    world.begin(1)
    await turns()
    with world.watched():
        world.gate.set()
        await turns(3)
    world.expect_works(2)


async def join_and_cancel(world: World) -> None:
    await refreshing(world, TTL)
    caller = world.begin(1, cancelled=True)
    await turns()
    with world.watched():
        caller.cancel()
        await turns(4)
    world.expect(caller.done(), "a cancelled caller goes on")
    world.expect(world.running() <= 0, "a refresh goes on for nobody")
    world.gate.set()
    await world.call(1)


async def join_and_let_go(world: World) -> None:
    await refreshing(world, TTL)
    world.begin_half(1)
    await turns()
    with world.watched():
        world.let_go()
        await turns(3)


async def evict_refreshing(world: World) -> None:
    await refreshing(world)
    world.begin(2)
    await turns(2)
    with world.watched():
        world.begin(3)
        await turns(4)
    world.gate.set()
    await world.call(1)


async def invalidate_refreshing(world: World) -> None:
    await refreshing(world)
    with world.watched():
        world.invalidate(1)
        world.begin(1)
        world.gate.set()
        await turns(3)


async def clear_refreshing(world: World) -> None:
    await refreshing(world)
    with world.watched():
        world.clear()
        world.begin(1)
        world.gate.set()
        await turns(3)


async def close_refreshing(world: World) -> None:
    await refreshing(world)
    with world.watched():
        world.begin_close()
        await turns(3)


# Which of them differ from one another under which options

ALWAYS = hit, miss, join, evict, invalidate, clear
IN_FLIGHT = fail, cancel, cancel_the_only, close, let_go
EXPIRING = expire, expired_and_called, evict_pending
OF_INSTANCES = (look, wrong_arguments) if PYPY else (look, drop, wrong_arguments)
EAGER = (due_and_eager,) if sys.version_info >= (3, 12) else ()
REFRESHING = (
    *(
        due,
        due_and_dropped,
        due_while_it_runs,
        refresh_fails,
        refresh_cancelled,
        refresh_expires,
        *EAGER,
    ),
    *(join_refresh, join_and_fail, join_and_cancel, join_and_let_go),
    *(evict_refreshing, invalidate_refreshing, clear_refreshing, close_refreshing),
)

OPTIONS: Dict[str, Dict[str, Any]] = {
    "bounded": {"maxsize": 2},
    "unbounded": {"maxsize": None},
    "ttl": {"maxsize": 2, "ttl": TTL},
    "size 0": {"maxsize": 0},
    "refresh": {"maxsize": 2, "ttl": TTL, "refresh": REFRESH},
    "per instance": {"maxsize": 2, "ttl": TTL, "refresh": REFRESH, "per_instance": True},
}
SCENARIOS: Dict[str, Tuple[Scenario, ...]] = {
    "bounded": (*ALWAYS, *IN_FLIGHT),
    "unbounded": (hit, miss, clear),
    "ttl": (*ALWAYS, *EXPIRING),
    "size 0": (miss, fail, cancel_the_only),
    "refresh": REFRESHING,
    "per instance": (*ALWAYS, *IN_FLIGHT, *EXPIRING, *OF_INSTANCES, due, join_refresh),
}

ACTIONS: Dict[str, Action] = {
    "invalidate": lambda world: world.invalidate(1),
    "invalidate another": lambda world: world.invalidate(2),
    "clear": World.clear,
    "look": World.look,
    "close": World.begin_close,
    "let go": World.let_go,
    "let go of another": World.let_go,
    "cancel": World.cancel,
    "drop": World.drop,
    "let go and drop": World.let_go_and_drop,
}


def matters(options: str, scenario: Scenario, action: str) -> bool:
    """Whether an action may make a difference there."""
    if options == "per instance" and scenario not in (*OF_INSTANCES, hit, miss, clear):
        return action in {"drop", "let go and drop"}
    return (
        scenario
        in {
            "invalidate": () if options == "size 0" else (scenario,),
            "invalidate another": (
                evict,
                *EXPIRING,
                invalidate,
                clear,
                look,
                drop,
            ),  # it is there
            "clear": (scenario,),
            "look": (
                evict,
                *EXPIRING,
                invalidate,
                clear,
                due,
                look,
                drop,
            ),  # where the mapping changes
            "close": (scenario,),
            "let go": (*ALWAYS, *IN_FLIGHT, *EXPIRING),
            "let go of another": (miss, join, fail) if options == "bounded" else (),
            "cancel": (miss, join, *IN_FLIGHT) if options == "bounded" else (),
            "drop": (scenario,) if options == "per instance" else (),
            "let go and drop": (hit, miss, clear) if options == "per instance" else (),
        }[action]
    )


Case = Tuple[str, Scenario, str]
CASES: List[Case] = [
    (options, scenario, action)
    for options, scenarios in SCENARIOS.items()
    for scenario in scenarios
    for action in ACTIONS
    if matters(options, scenario, action)
]


def play(
    watch: Watch,
    loop: ClockLoop,
    options: str,
    scenario: Scenario,
    plan: Plan,
    half_run: Optional[int] = None,
    by_key: bool = False,
) -> List[str]:
    """Play it, with the plan's actions; what is wrong with the world that is left."""

    async def main() -> List[str]:
        world = World(loop, OPTIONS[options], watch, by_key)
        watch.start(plan, world, coverage)
        if half_run is not None:
            # Its work waits until the scenario has said whether it is to.
            world.gate.clear()
            world.begin_half(half_run)
            world.gate.set()
        for part in scenario(world), world.look_around():
            try:
                await part
            except Exception as error:  # noqa: BLE001
                world.problems.append(f"raised {error!r}")
            watch.on = False
        return world.problems

    with traced_by(None) as coverage:  # what is not watched would only be slower
        return loop.run_until_complete(main())


def half_run_for(*actions: str) -> Optional[int]:
    """For whom the caller waits that an action is to let go of."""
    if {"let go", "let go and drop", "cancel"}.intersection(actions):
        return 1
    return 4 if "let go of another" in actions else None


def every_moment(
    loop: ClockLoop, options: str, scenario: Scenario, action: str, by_key: bool = False
) -> List[str]:
    """One action, at each moment in turn; what went wrong, and when."""
    # Tracing is slow on PyPy: one line in so many there, in each case another.
    step = 17 if PYPY and not by_key else 1
    first = CASES.index((options, scenario, action)) % step
    watch = Watch()
    half_run = half_run_for(action)
    problems = play(watch, loop, options, scenario, {}, half_run, by_key)
    assert watch.moments > 0 or by_key, "nothing was watched"
    for moment in itertools.count(first, step):
        plan = {moment: ACTIONS[action]}
        found = play(watch, loop, options, scenario, plan, half_run, by_key)
        problems += [f"{action} at moment {moment}: {problem}" for problem in found]
        if not watch.fired:
            break
    return problems


def two_at_random(loop: ClockLoop, chance: random.Random) -> List[str]:
    """Two actions in one case, at any two moments; what went wrong, and where."""
    options, scenario, action = chance.choice(CASES)
    another = chance.choice(list(ACTIONS))
    by_key = chance.random() < 0.2
    last = 20 if by_key else 250
    plan = {
        chance.randrange(last): ACTIONS[action],
        chance.randrange(last): ACTIONS[another],
    }
    half_run = half_run_for(action, another)
    found = play(Watch(), loop, options, scenario, plan, half_run, by_key)
    where = (
        f"{options}, {scenario.__name__}, {action} and {another} at {sorted(plan)}, {by_key}"
    )
    return [f"{where}: {problem}" for problem in found]
