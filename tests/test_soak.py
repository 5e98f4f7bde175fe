"""The short form of ``make soak``."""

from typing import List

from .soak import soak


def test_a_short_soak() -> None:
    told: List[str] = []
    figures, failures = soak(2, told.append)
    assert failures == []
    assert figures["calls"] > 1000
    assert told
