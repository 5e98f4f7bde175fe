"""One benchmark for each kind of call: ``make pytest ARGS=benchmarks``."""

import asyncio
from typing import Any, Callable, Dict, Iterator

import pytest

from async_lru import alru_cache

from .peers import identity


class Box:
    @alru_cache(maxsize=128)
    async def method(self, x: int) -> int:
        return x


box = Box()
OPTIONS: Dict[str, Any] = {
    "bounded": {},
    "unbounded": {"maxsize": None},
    "typed": {"typed": True},
    "ttl": {"ttl": 3600},
}
ARGUMENTS: Dict[str, Any] = {
    "none": ((), {}),
    "int": ((1,), {}),
    "str": (("some key",), {}),
    "tuple": (((1, "a"),), {}),
    "keyword": ((), {"x": 1}),
}


async def anything(*args: Any, **kwargs: Any) -> None: ...


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def run(benchmark: Any, loop: Any, many: Callable[[], Any]) -> None:
    benchmark(lambda: loop.run_until_complete(many()))


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("options", OPTIONS)
def test_hit(benchmark: Any, loop: Any, options: str, arguments: str) -> None:
    function: Any = alru_cache(**OPTIONS[options])(anything)
    args, kwargs = ARGUMENTS[arguments]

    async def many() -> None:
        for _ in range(1000):
            await function(*args, **kwargs)

    run(benchmark, loop, many)


def test_hit_of_a_bound_method(benchmark: Any, loop: Any) -> None:
    async def many() -> None:
        for _ in range(1000):
            await box.method(1)

    run(benchmark, loop, many)
    box.method.cache_clear()


def test_hit_that_is_due(benchmark: Any, loop: Any) -> None:
    """Between ``refresh`` and ``ttl``, while its refresh runs."""
    first = True

    async def once(x: int) -> int:
        nonlocal first
        if not first:
            await asyncio.Event().wait()
        first = False
        return x

    function: Any = alru_cache(ttl=3600, refresh=0)(once)  # new in 3.1

    async def many() -> None:
        for _ in range(1000):
            await function(1)

    run(benchmark, loop, many)
    assert function.cache_parameters()["tasks"] == 1
    loop.run_until_complete(function.cache_close())


def test_hit_of_an_instances_own_cache(benchmark: Any, loop: Any) -> None:
    class Own:
        @alru_cache(per_instance=True)  # new in 3.1
        async def method(self, x: int) -> int:
            return x

    own: Any = Own()

    async def many() -> None:
        for _ in range(1000):
            await own.method(1)

    run(benchmark, loop, many)


@pytest.mark.parametrize("options", OPTIONS)
def test_miss(benchmark: Any, loop: Any, options: str) -> None:
    function: Any = alru_cache(**OPTIONS[options])(identity)
    turn = iter(range(10**9))

    async def many() -> None:
        for _ in range(1000):
            await function(next(turn))

    run(benchmark, loop, many)


def test_1000_callers_of_one_key(benchmark: Any, loop: Any) -> None:
    function: Any = alru_cache(identity)
    turn = iter(range(10**9))

    async def many() -> None:
        x = next(turn)
        await asyncio.gather(*[function(x) for _ in range(1000)])

    run(benchmark, loop, many)


def test_1000_keys_at_once(benchmark: Any, loop: Any) -> None:
    function: Any = alru_cache(maxsize=2000)(identity)
    turn = iter(range(10**9))

    async def many() -> None:
        await asyncio.gather(*[function(next(turn)) for _ in range(1000)])

    run(benchmark, loop, many)
