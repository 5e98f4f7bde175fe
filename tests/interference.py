"""Another step comes in between two lines: the engine of ``test_interference``.

While a scenario goes on, each line of the library, or each call of a key's ``__hash__`` and
``__eq__``, is a *moment*. An action comes at one moment, or a thread stands still there while
another one acts. Then the world is looked at: every promise holds as if the action had come
just before or just after. Problems name the line of the library at which that was.
"""

import asyncio
import contextlib
import itertools
import os
import pathlib
import random
import sys
import threading
import types
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import async_lru

from .helpers import LIMIT, PYPY, THOROUGH, ClockLoop, run_alone, turns
from .scenarios import ACTIONS, CASES, OPTIONS, Action, Scenario
from .world import KEYS, REFRESH, World

PACKAGE = str(pathlib.Path(async_lru.__file__).parent) + os.sep
# In turns of the loop: none of the scenarios takes so many.
LONG = 500

Plan = Dict[int, Action]


def library_line(frame: Optional[types.FrameType]) -> str:
    """The line of the library that is being run, such as async_lru/_call.py:123."""
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "outside the library"
    return f"async_lru/{frame.f_code.co_filename[len(PACKAGE) :]}:{frame.f_lineno}"


class Watch:
    """Counts moments while it is on, and does what is planned for them."""

    def __init__(self, plan: Optional[Plan] = None) -> None:
        self.plan = plan or {}
        self.world: Any = None
        self.coverage: Any = None
        self.on = False
        self.moments = 0
        # The lines of the library at which actions came.
        self.lines: List[str] = []

    @contextlib.contextmanager
    def watching(self, by_key: bool) -> Iterator[None]:
        self.on = True
        with contextlib.ExitStack() as stack:
            if not by_key:
                stack.enter_context(traced_by(self.moment, self.coverage))
            yield
        self.on = False

    def moment(self, frame: types.FrameType) -> None:
        if not self.on:
            return
        action = self.plan.get(self.moments)
        self.moments += 1
        if action is None:
            return
        self.lines.append(library_line(frame))
        self.on = False
        try:
            action(self.world)
        except BaseException as error:  # noqa: BLE001
            self.world.problems.append(f"the action raised {error!r}")
        if len(self.lines) < len(self.plan):
            self.on = True
        else:
            set_trace(None)  # nothing is to come: what is left takes half the time


class Standing(Watch):
    """Another thread, which takes one step and stands still at one moment of it."""

    def __init__(self, step: Callable[[], object], moment: int, by_key: bool) -> None:
        super().__init__()
        self.step = step
        self.stops_at = moment
        self.by_key = by_key
        self.stands, self.goes_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            with self.watching(self.by_key):
                self.step()
        except BaseException as error:  # noqa: BLE001
            self.world.problems.append(f"the other thread raised {error!r}")
        finally:
            self.stands.set()

    def moment(self, frame: types.FrameType) -> None:
        if threading.current_thread() is not self.thread:
            return
        if self.moments == self.stops_at:
            self.lines.append(library_line(frame))
            self.stands.set()
            assert self.goes_on.wait(LIMIT)
        self.moments += 1

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        self.thread.start()
        assert self.stands.wait(LIMIT)
        try:
            yield
        finally:
            self.goes_on.set()
            self.thread.join()


@contextlib.contextmanager
def traced_by(moment: Callable[[types.FrameType], None], coverage: Any) -> Iterator[None]:
    """Have a function called at each line of the library. Coverage goes on beside it."""
    before = sys.gettrace()
    set_trace(line_by_line(moment, coverage))
    try:
        yield
    finally:
        set_trace(before)


def set_trace(tracer: Any) -> None:
    if sys.gettrace() is not tracer:  # to set it takes a while
        sys.settrace(tracer)


def line_by_line(moment: Callable[[types.FrameType], None], coverage: Any) -> Any:
    def begin(frame: types.FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        also = None
        if coverage:
            also = coverage(frame, event, arg)
            sys.settrace(begin)  # coverage has just put itself in this place

        def line(frame: types.FrameType, event: str, arg: Any) -> Any:
            if event == "line":
                moment(frame)
            if also:
                also(frame, event, arg)
            return line

        return line

    return begin


def play(
    loop: ClockLoop,
    options: str,
    scenario: Scenario,
    watch: Watch,
    half_run: Optional[int] = None,
    by_key: bool = False,
) -> List[str]:
    """Play a scenario to its end; return what is wrong with the world that is left."""

    async def begin(world: World) -> None:
        if half_run is not None:
            # Its work waits until the scenario has said whether it is to.
            world.gate.clear()
            world.begin_half(half_run)
            world.gate.set()
        await scenario(world)

    async def main() -> List[str]:
        world = watch.world = World(loop, OPTIONS[options], watch, by_key)
        for part in begin(world), world.look_around(asyncio.current_task()):
            task = asyncio.ensure_future(part)
            for _ in range(LONG):
                await asyncio.sleep(0)
                if task.done():
                    break
            watch.on = False
            if not task.done():
                return [*world.problems, "it hangs"]
            if task.exception():
                world.problems.append(f"raised {task.exception()!r}")
        return world.problems

    watch.coverage = sys.gettrace()
    set_trace(None)  # what is not watched would only be slower
    try:
        return loop.run_until_complete(main())
    finally:
        set_trace(watch.coverage)
        for task in asyncio.all_tasks(loop):  # of one that hangs
            task.cancel()
            loop.run_until_complete(turns())


def half_run_for(*actions: str) -> Optional[int]:
    """The key of the caller whom an action is to let go of, or to cancel."""
    if {"let go", "let go and drop", "cancel"}.intersection(actions):
        return 1
    return 4 if "let go of another" in actions else None


def first_and_step(by_key: bool, case: int) -> Tuple[int, int]:
    """Which moments are tried: in each case others, unless all are. Tracing PyPy is slow."""
    step = 1 if by_key or THOROUGH else 17 if PYPY else 8
    return case % step, step


def at_each_moment(
    loop: ClockLoop, options: str, scenario: Scenario, action: str, by_key: bool
) -> Iterator[str]:
    """Play a scenario with one action, at each moment in turn; what goes wrong, and where."""
    first, step = first_and_step(by_key, CASES.index((options, scenario, action)))
    half_run = half_run_for(action)
    watch = Watch()
    yield from play(loop, options, scenario, watch, half_run, by_key)
    assert watch.moments > 0 or by_key, "nothing was watched"
    for moment in itertools.count(first, step):
        watch = Watch({moment: ACTIONS[action]})
        for problem in play(loop, options, scenario, watch, half_run, by_key):
            yield f"{action} at {', '.join(watch.lines)}: {problem}"
        if not watch.lines:
            break


def two_at_random(loop: ClockLoop, chance: random.Random) -> List[str]:
    """Play a case with two actions, at any two moments; what goes wrong, and where."""
    options, scenario, action = chance.choice(CASES)
    another = chance.choice(list(ACTIONS))
    by_key = chance.random() < 0.2
    last = 20 if by_key else 250
    watch = Watch(
        {
            chance.randrange(last): ACTIONS[action],
            chance.randrange(last): ACTIONS[another],
        }
    )
    half_run = half_run_for(action, another)
    found = play(loop, options, scenario, watch, half_run, by_key)
    return [
        f"{options}, {scenario.__name__}, {action} and {another} at"
        f" {', '.join(watch.lines)} ({sorted(watch.plan)}): {problem}"
        for problem in found
    ]


# Two threads


def call_elsewhere(world: World) -> None:
    """Call in another loop, which is closed in the end, and may be forgotten then."""
    world.loops += 1
    run_alone(world.call(1))
    world.calls_since_clear -= 1


def close_elsewhere(world: World) -> None:
    """The same, and close the cache of that loop."""

    async def main() -> None:
        await world.call(1)
        await world.function.cache_close()

    world.loops += 1
    run_alone(main())
    world.calls_since_clear -= 1


# By name: the step of the thread that stands still, and the steps taken meanwhile. (The
# world's own actions are in effect when they return: these need not be.)
CHANGES = "invalidate", "invalidate another", "clear", "look", "close", "call"
OF_LOOPS = "invalidate", "clear", "close", "call"
STANDING: Dict[str, Tuple[Action, Tuple[str, ...]]] = {
    "invalidate": (
        lambda world: world.callable.cache_invalidate(world.key(1)),
        (*CHANGES, "a call returns"),
    ),
    "clear": (lambda world: world.function.cache_clear(), CHANGES),
    "look": (World.look, ("invalidate", "clear")),
    "call elsewhere": (call_elsewhere, OF_LOOPS),
    "close elsewhere": (close_elsewhere, OF_LOOPS),
}


async def take(step: str, world: World) -> None:
    """Take one of the steps that are taken while a thread stands still."""
    if step == "call":
        await world.call(3)
    elif step == "a call returns":
        world.gate.set()
        await turns()
    else:
        ACTIONS[step](world)


def beside_a_thread(
    loop: ClockLoop, options: str, first: str, second: str, by_key: bool, filled: bool = True
) -> Iterator[str]:
    """Have a thread stand still at each moment of its step, while another step is whole."""
    lines: List[str] = []

    async def scenario(world: World) -> None:
        if second == "a call returns":
            world.gate.clear()
            world.begin(1)
            await turns()
        else:
            for number in (1, 2) if filled else ():
                await world.call(number)
        loop.now += REFRESH  # with a refresh, both are due
        step, _ = STANDING[first]
        standing = Standing(lambda: step(world), moment, by_key)
        standing.world, standing.coverage = world, world.watch.coverage
        world.watch = standing
        changed = world.change(*KEYS)
        with standing.still():
            lines[:] = standing.lines
            await take(second, world)
            for number in 1, 2, 1:
                await world.call(number)
            await turns(2)
        if first == "clear":
            world.calls_since_clear = 0
            world.rely(changed)
        elif first == "invalidate":
            world.rely({1: changed[1]})

    # Of the moments at which a call returns, few matter: none is left out.
    every = by_key or second == "a call returns"
    for moment in itertools.count(*first_and_step(every, len(first) + len(second))):
        for problem in play(loop, options, scenario, Watch(), None, by_key):
            at = ", ".join(lines) or "its end"
            yield f"{first} stands at {at}, {second} meanwhile: {problem}"
        if not lines:
            assert moment > 0 or by_key, "nothing was watched"
            break
