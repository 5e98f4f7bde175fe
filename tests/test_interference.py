"""Contract 8: what comes amid a step is as if it had come just before or just after."""

import gc
import random
from typing import Iterator

import pytest

from .helpers import ClockLoop, clock_loop
from .interference import ACTIONS, SCENARIOS, Scenario, every_moment, matters, two_at_random


@pytest.fixture(scope="module")
def loop() -> Iterator[ClockLoop]:
    gc.collect()
    getattr(gc, "freeze", gc.collect)()  # thousands of worlds: a look at each is enough
    with clock_loop() as loop:
        yield loop
    getattr(gc, "unfreeze", gc.collect)()


@pytest.mark.parametrize("by", ["line", "key"])
@pytest.mark.parametrize(
    ("options", "scenario"),
    [
        pytest.param(options, scenario, id=f"{options} {scenario.__name__}")
        for options, scenarios in SCENARIOS.items()
        for scenario in scenarios
    ],
)
def test_at_every(by: str, loop: ClockLoop, options: str, scenario: Scenario) -> None:
    problems = [
        problem
        for action in ACTIONS
        if matters(options, scenario, action)
        for problem in every_moment(loop, options, scenario, action, by_key=by == "key")
    ]
    assert problems == []


def test_two_at_once(loop: ClockLoop) -> None:
    """A few of very many: the soak goes on with them."""
    chance = random.Random(0)
    assert [problem for _ in range(500) for problem in two_at_random(loop, chance)] == []
