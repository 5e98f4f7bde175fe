"""Contract 8: what comes between two lines is as if it had come just before or just after."""

import gc
import itertools
import random
from typing import Iterator

import pytest

from .helpers import PYPY, ClockLoop, clock_loop
from .interference import STANDING, at_each_moment, beside_a_thread, two_at_random
from .scenarios import ACTIONS, SCENARIOS, Scenario, matters

BY = pytest.mark.parametrize("by", ["line", "key"])


@pytest.fixture(scope="module")
def loop() -> Iterator[ClockLoop]:
    gc.collect()
    getattr(gc, "freeze", gc.collect)()  # thousands of worlds: a look at each is enough
    with clock_loop() as loop:
        yield loop
    getattr(gc, "unfreeze", gc.collect)()


def expect_none(problems: Iterator[str]) -> None:
    """Show a few of them: one fault often has thousands."""
    found = list(itertools.islice(problems, 5))
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@BY
@pytest.mark.parametrize(
    ("options", "scenario"),
    [
        pytest.param(options, scenario, id=f"{options} {scenario.__name__}")
        for options, scenarios in SCENARIOS.items()
        for scenario in scenarios
    ],
)
def test_an_action_at_each(by: str, loop: ClockLoop, options: str, scenario: Scenario) -> None:
    expect_none(
        problem
        for action in ACTIONS
        if matters(options, scenario, action)
        for problem in at_each_moment(loop, options, scenario, action, by_key=by == "key")
    )


@BY
@pytest.mark.parametrize("options", ["bounded", "ttl", "refresh", "per instance"])
@pytest.mark.parametrize("first", list(STANDING))
def test_beside_a_thread_that_stands_at_each(
    by: str, loop: ClockLoop, options: str, first: str
) -> None:
    """A thread may rely on its own step, wherever another thread stands in one."""
    if PYPY and by == "key":
        pytest.skip("dict.setdefault() is two steps there, if a key has methods of its own")
    _, seconds = STANDING[first]
    expect_none(
        problem
        for second in seconds
        for problem in beside_a_thread(loop, options, first, second, by == "key")
    )


@pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")
@pytest.mark.parametrize("options", ["bounded", "per instance"])
@pytest.mark.parametrize("first", ["call elsewhere", "close elsewhere"])
def test_a_first_call_beside_one_that_stands_at_each_line(
    loop: ClockLoop, options: str, first: str
) -> None:
    expect_none(beside_a_thread(loop, options, first, "call", by_key=False, filled=False))


def test_two_actions_at_random(loop: ClockLoop) -> None:
    """A few of very many. The soak plays more of them."""
    chance = random.Random(0)
    expect_none(problem for _ in range(500) for problem in two_at_random(loop, chance))
