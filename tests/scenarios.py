"""Scenarios and actions for the engine of ``interference``.

A *scenario* is what goes on: a small coroutine function that uses a world, and says which part
of it is watched. An *action* is what happens in between.
"""

import asyncio
import contextlib
import sys
from typing import Any, Awaitable, Callable, Dict, List, Tuple

from .helpers import PYPY, turns
from .world import REFRESH, TTL, World

Action = Callable[[World], None]
Scenario = Callable[[World], Awaitable[None]]


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
        await turns(1)  # up to where it waits: the rest is as after any miss


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
        await turns(1)  # up to where it waits: the rest is as after any miss


async def into_service(world: World) -> None:
    """A hit puts the cache back into service, and another one follows in the same turn."""
    for number in 1, 2:
        await world.call(number)
    world.invalidate(2)
    with world.watched():
        await world.call(1)
        await world.call(1)


async def clear(world: World) -> None:
    for number in 1, 2:
        await world.call(number)
    with world.watched():
        world.clear()
        world.begin(1)
        await turns(1)  # up to where it waits: the rest is as after any miss


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
    """A refresh in flight is cancelled, wherever its entry is dropped."""
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
    """Have a refresh of key 1 running, and a result that is so many seconds old."""
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
    """A refresh fails after its entry has expired, and nobody receives that."""
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
    world.expect(first.done(), "a caller who has joined hangs")
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


# Which scenarios differ under which options

ALWAYS = hit, miss, join, evict, invalidate, into_service, clear


IN_FLIGHT = fail, cancel, cancel_the_only, close, let_go


EXPIRING = expire, expired_and_called, evict_pending


OF_INSTANCES = (look, wrong_arguments) if PYPY else (look, drop, wrong_arguments)


EAGER = (due_and_eager,) if sys.version_info >= (3, 12) else ()


REFRESHING = (
    *(due, due_and_dropped, due_while_it_runs, *EAGER),
    *(refresh_fails, refresh_cancelled, refresh_expires),
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


# Where the mapping changes, or has the other key.
CHANGING = (evict, *EXPIRING, invalidate, clear, look, drop)


def matters(options: str, scenario: Scenario, action: str) -> bool:
    """Whether an action may make a difference there, and has not made the same elsewhere."""
    bounded, per_instance = options == "bounded", options == "per instance"
    if per_instance and scenario not in (*OF_INSTANCES, hit, miss, clear):
        return action in {"drop", "let go and drop"}
    where: Dict[str, Tuple[Scenario, ...]] = {
        "invalidate": () if options == "size 0" else (scenario,),
        "invalidate another": CHANGING,
        "clear": (scenario,),
        "look": (*CHANGING, due),
        "close": (scenario,),
        "let go": (*ALWAYS, *IN_FLIGHT, *EXPIRING),
        "let go of another": (miss, join, fail) if bounded else (),
        "cancel": (miss, join, *IN_FLIGHT) if bounded else (),
        "drop": (scenario,) if per_instance else (),
        "let go and drop": (hit, miss, clear) if per_instance else (),
    }
    return scenario in where[action]


Case = Tuple[str, Scenario, str]


CASES: List[Case] = [
    (options, scenario, action)
    for options, scenarios in SCENARIOS.items()
    for scenario in scenarios
    for action in ACTIONS
    if matters(options, scenario, action)
]
