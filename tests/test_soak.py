"""The short form of ``make soak``."""

from typing import List

from .soak import soak


def test_a_short_soak() -> None:
    """However many calls a machine makes meanwhile."""
    told: List[str] = []
    figures, failures = soak(2, told.append)
    assert failures == []
    assert told
    for name in "calls", "works", "refreshes", "loops made", "timers seen":
        assert figures[name] > 0
