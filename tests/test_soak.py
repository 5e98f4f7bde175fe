"""The short form of ``make soak``."""

from typing import List

from .soak import soak


async def test_a_short_soak() -> None:
    told: List[str] = []
    assert await soak(2, told.append) > 1000
    assert told
