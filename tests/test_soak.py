"""The short form of ``make soak``."""

from typing import List

from .helpers import PYPY
from .soak import soak


def test_a_short_soak() -> None:
    told: List[str] = []
    figures, failures = soak(2, told.append)
    assert failures == []
    assert figures["calls"] > (100 if PYPY else 1000)  # it takes its time to get fast
    assert told
