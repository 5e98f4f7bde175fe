"""Something else happens in the middle of a step: the engine of ``test_interference``.

A *scenario* is what goes on, a small coroutine function; its steps are watched, and each line
of the library in them, or each call of a key's ``__hash__`` and ``__eq__``, is a *moment*. A
*plan* says which *actions* come at which moments. Then the world is looked at: every promise
holds as if they had come just before or just after.
"""

import asyncio
import contextlib
import itertools
import os
import pathlib
import random
import sys
import types
from typing import Any, Awaitable, Callable, Dict, Generator, Iterator, List, Optional, Set

import async_lru

from .helpers import ClockLoop, timers, turns

PACKAGE = str(pathlib.Path(async_lru.__file__).parent) + os.sep
TTL = 10.0

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
        self.on = True


@contextlib.contextmanager
def traced_by(tracer: Any) -> Iterator[Any]:
    """The one that was there before is given, and is back in the end."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield before
    finally:
        sys.settrace(before)


def line_by_line(moment: Callable[[], None], coverage: Any) -> Any:
    """A tracer that has the moment called at each line of the library, beside coverage."""

    def begin(frame: types.FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        also = coverage and coverage(frame, event, arg)
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
        self.maxsize: Optional[int] = options.get("maxsize", 128)
        self.watch = watch
        self.by_key = by_key
        self.problems: List[str] = []
        # By key; a result has the version of the facts that it was made from.
        self.versions: Dict[int, int] = {}
        self.failing: Set[int] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks: List["asyncio.Task[None]"] = []
        self.half_run: List[Any] = []
        self.closing: List[Any] = []
        self.may_be_cancelled = self.closed = False
        # The calls that are to be in the counters, at least and at most.
        self.calls = self.calls_since_clear = 0
        self.function: Any = async_lru.alru_cache(**options)(self.work)
        loop.set_exception_handler(self.complain)

    async def work(self, key: Any) -> Any:
        number = key.number if self.by_key else key
        made_from = self.versions.get(number, 0)
        if self.gate.is_set():
            await asyncio.sleep(0)
        else:
            await self.gate.wait()
        if number in self.failing:
            raise ValueError(number)
        return number, made_from

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
        self.calls += 1
        self.calls_since_clear += 1
        try:
            result = await self.function(self.key(number))
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
            versions = range(known, self.versions.get(number, 0) + 1)
            if result not in [(number, version) for version in versions]:
                self.problems.append(f"got {result} for {number} of version {known}")

    def begin(self, number: int, cancelled: bool = False) -> "asyncio.Task[None]":
        self.tasks.append(self.loop.create_task(self.call(number, cancelled)))
        return self.tasks[-1]

    def begin_half(self, number: int) -> None:
        """A caller that has begun and waits, to be let go of."""
        call = self.function(self.key(number))
        self.calls += 1
        self.calls_since_clear += 1
        try:
            call.send(None)
        except StopIteration:
            pass
        else:
            self.half_run.append(call)

    def invalidate(self, number: int) -> None:
        self.versions[number] = self.versions.get(number, 0) + 1  # the facts have changed
        self.function.cache_invalidate(self.key(number))
        if self.function.cache_contains(self.key(number)):
            self.problems.append("contained though invalidated")

    def clear(self) -> None:
        for number in range(6):
            self.versions[number] = self.versions.get(number, 0) + 1
        self.calls_since_clear = 0
        self.function.cache_clear()
        if self.function.cache_info().currsize:
            self.problems.append("not empty though cleared")

    def look(self) -> None:
        self.function.cache_contains(self.key(1))
        self.expect(self.running() <= self.calls, "too many run")
        info = self.function.cache_info()
        if info.currsize < 0 or (self.maxsize is not None and info.currsize > self.maxsize):
            self.problems.append(str(info))

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
            self.half_run.pop().close()

    # What holds in the end

    def expect(self, holds: bool, what: object) -> None:
        if not holds:
            self.problems.append(str(what))

    async def finish(self) -> None:
        """Let everything come to its end, in a bounded number of turns."""
        self.gate.set()
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

    async def look_around(self) -> None:
        function = self.function
        await self.finish()
        self.expect(self.running() == 0, "something runs")
        self.look()
        info = function.cache_info()
        low = 0 if self.closed else self.calls_since_clear
        self.expect(low <= info.hits + info.misses <= self.calls, (low, self.calls, info))
        self.failing.clear()
        for number in 1, 2:
            self.invalidate(number)  # has an effect
        await asyncio.gather(self.call(1), self.call(2))
        self.clear()  # too
        await self.call(1)
        await self.call(1)
        hits = 0 if self.maxsize == 0 else 1
        if not self.closed:
            self.expect(function.cache_info()[:2] == (hits, 2 - hits), "counts in the end")
        self.look()
        await function.cache_close()
        self.closed = True
        before = function.cache_info()
        await self.call(1)
        self.expect(function.cache_info() == before, "a call though closed")
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
        await world.call(1)


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
        await world.call(1)


async def clear(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
    with world.watched():
        world.clear()
        await world.call(1)


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


SCENARIOS: Dict[str, Scenario] = {
    function.__name__: function
    for function in (
        *(hit, miss, join, evict, evict_pending, expire, expired_and_called, fail),
        *(cancel, cancel_the_only, invalidate, clear, close, let_go),
    )
}

OPTIONS: Dict[str, Dict[str, Any]] = {
    "bounded": {"maxsize": 2},
    "unbounded": {"maxsize": None},
    "ttl": {"maxsize": 2, "ttl": TTL},
    "size 0": {"maxsize": 0},
}

ACTIONS: Dict[str, Action] = {
    "invalidate": lambda world: world.invalidate(1),
    "invalidate another": lambda world: world.invalidate(2),
    "clear": World.clear,
    "look": World.look,
    "close": World.begin_close,
    "let go": World.let_go,
    "let go of another": World.let_go,
}


def applies(scenario: str, options: str, action: str) -> bool:
    """Whether these make a case of their own."""
    if scenario.startswith("expire"):
        return options == "ttl"
    if scenario.startswith("evict"):
        return options in ("bounded", "ttl")
    if options == "size 0":
        return scenario in ("miss", "fail", "cancel_the_only")
    if action == "let go of another":
        return scenario in ("miss", "join", "fail")
    return options != "unbounded" or scenario in ("hit", "miss", "join", "cancel_the_only")


CASES = [
    (scenario, options, action)
    for scenario in SCENARIOS
    for options in OPTIONS
    for action in ACTIONS
    if applies(scenario, options, action)
]


def play(
    watch: Watch,
    loop: ClockLoop,
    scenario: Scenario,
    options: Dict[str, Any],
    plan: Plan,
    half_run: Optional[int] = None,
    by_key: bool = False,
) -> List[str]:
    """Play it, with the plan's actions; what is wrong with the world that is left."""

    async def main() -> List[str]:
        world = World(loop, options, watch, by_key)
        watch.start(plan, world, coverage)
        if half_run is not None:
            world.begin_half(half_run)
        for part in scenario(world), world.look_around():
            try:
                await part
            except Exception as error:  # noqa: BLE001
                world.problems.append(f"raised {error!r}")
            watch.on = False
        return world.problems

    with traced_by(None) as coverage:  # what is not watched would only be slower
        return loop.run_until_complete(main())


def half_run_for(action: str) -> Optional[int]:
    """For whom the caller waits that this action is to let go of."""
    return {"let go": 1, "let go of another": 4}.get(action)


def every_moment(
    loop: ClockLoop,
    scenario: str,
    options: str,
    action: str,
    by_key: bool = False,
    step: int = 1,
) -> List[str]:
    """One action, at each moment in turn, or at one in so many; what went wrong, and when."""
    first = CASES.index((scenario, options, action)) % step
    watch = Watch()
    problems: List[str] = []
    for moment in itertools.count(first, step):
        found = play(
            watch,
            loop,
            SCENARIOS[scenario],
            OPTIONS[options],
            {moment: ACTIONS[action]},
            half_run_for(action),
            by_key,
        )
        problems += [f"moment {moment}: {problem}" for problem in found]
        if not watch.fired:
            break
    assert watch.moments > 0 or by_key, "nothing was watched"
    return problems


def two_at_random(loop: ClockLoop, chance: random.Random) -> List[str]:
    """Two actions in one case, at any two moments; what went wrong, and where."""
    scenario, options, action = chance.choice(CASES)
    another = chance.choice(list(ACTIONS))
    by_key = chance.random() < 0.2
    last = 20 if by_key else 250
    plan = {
        chance.randrange(last): ACTIONS[action],
        chance.randrange(last): ACTIONS[another],
    }
    half_run = half_run_for(action) or half_run_for(another)
    found = play(Watch(), loop, SCENARIOS[scenario], OPTIONS[options], plan, half_run, by_key)
    where = f"{scenario}, {options}, {action} and {another} at {sorted(plan)}, {by_key}"
    return [f"{where}: {problem}" for problem in found]
