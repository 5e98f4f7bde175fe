"""A test suite in which one fixture starts every test with empty caches.

In a folder with a copy of this file: python -m pytest test_with_caches.py
"""

import asyncio
from typing import Iterator, List

import pytest

from async_lru import alru_cache

asked: List[str] = []


@alru_cache
async def setting(name: str) -> str:
    asked.append(name)
    return name.upper()


CACHES = [setting]  # all cached functions of the program


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    yield
    for function in CACHES:
        function.cache_clear()
    asked.clear()


def test_it_is_asked_once() -> None:
    async def main() -> None:
        assert await setting("colour") == "COLOUR"
        assert await setting("colour") == "COLOUR"

    asyncio.run(main())
    assert asked == ["colour"]


def test_nothing_is_left_of_another_test() -> None:
    assert setting.cache_info().currsize == 0
    assert asyncio.run(setting("colour")) == "COLOUR"
    assert asked == ["colour"]


def test_without_the_cache() -> None:
    assert asyncio.run(setting.__wrapped__("shape")) == "SHAPE"
    assert setting.cache_info().misses == 0
