"""Contract 8: what comes amid a step is as if it had come just before or just after."""

import random
from typing import Iterator

import pytest

from .helpers import PYPY, ClockLoop, clock_loop
from .interference import CASES, every_moment, two_at_random


@pytest.fixture(scope="module")
def loop() -> Iterator[ClockLoop]:
    with clock_loop() as loop:
        yield loop


cases = pytest.mark.parametrize(
    ("scenario", "options", "action"), CASES, ids=[" ".join(case) for case in CASES]
)


@cases
def test_at_every_line(loop: ClockLoop, scenario: str, options: str, action: str) -> None:
    step = 13 if PYPY else 1  # tracing is slow there
    assert every_moment(loop, scenario, options, action, step=step) == []


@cases
def test_at_every_use_of_a_key(
    loop: ClockLoop, scenario: str, options: str, action: str
) -> None:
    assert every_moment(loop, scenario, options, action, by_key=True) == []


def test_two_at_once(loop: ClockLoop) -> None:
    """A few of very many: the soak goes on with them."""
    chance = random.Random(0)
    assert [problem for _ in range(500) for problem in two_at_random(loop, chance)] == []
