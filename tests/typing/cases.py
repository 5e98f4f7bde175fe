"""What mypy and pyright say of user code. Checked by both, in the lint stage; never run.

An error that is expected carries an ignore comment of each checker that reports it, and both
report a comment that ignores nothing.
"""

from datetime import timedelta
from functools import partial, partialmethod
from typing import Any, Awaitable, Callable, Coroutine, Generic, List, Optional, TypeVar

from typing_extensions import assert_type

from async_lru import _LRUCacheWrapper, alru_cache

T = TypeVar("T")


@alru_cache
async def bare(n: int, name: str = "") -> bytes:
    return b""


@alru_cache()
async def called(n: int, *, name: str = "") -> bytes:
    return b""


@alru_cache(maxsize=None, typed=True, ttl=5, jitter=0.5)
async def with_options(n: int) -> bytes:
    return b""


@alru_cache(key=lambda n: n)
async def with_key(n: int) -> bytes:
    return b""


def seconds_of(result: bytes) -> float:
    return len(result)


def seconds_or_ever(result: bytes) -> Optional[int]:
    return len(result) or None


@alru_cache(ttl=lambda result: 60 if result else 0, refresh=5, jitter=1)
async def with_lambda(n: int) -> bytes:
    return b""


@alru_cache(ttl=seconds_of, refresh=0.5)
async def with_precise(n: int) -> bytes:
    return b""


@alru_cache(ttl=seconds_or_ever)
async def with_ever(n: int) -> bytes:
    return b""


applied = alru_cache(with_ever.__wrapped__, ttl=seconds_of, refresh=5, per_instance=False)


async def of_the_result() -> None:
    assert_type(await with_lambda(1), bytes)
    assert_type(await with_precise(1), bytes)
    assert_type(await with_ever(1), bytes)
    assert_type(await applied(1), bytes)
    await with_lambda("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Own:
    @alru_cache(per_instance=True, ttl=seconds_of, refresh=5)
    async def get(self, n: int) -> bytes:
        return b""


async def per_instance(own: Own) -> None:
    assert_type(await own.get(1), bytes)
    assert_type(own.get.cache_contains(n=1), bool)
    await Own.get(own, 1)
    Own.get.cache_invalidate(own, 1)
    await own.get("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await own.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


positional = alru_cache(32, True)


@positional
async def by_position(n: int) -> bytes:
    return b""


async def functions() -> None:
    assert_type(await bare(1), bytes)
    assert_type(await bare(1, name="x"), bytes)
    assert_type(await called(1, name="x"), bytes)
    assert_type(await with_options(1), bytes)
    assert_type(await with_key(1), bytes)
    assert_type(await by_position(n=1), bytes)
    assert_type(bare.cache_invalidate(1, "x"), bool)
    assert_type(called.cache_contains(1, name="x"), bool)
    assert_type(bare.cache_info().hits, int)
    assert_type(bare.cache_parameters()["tasks"], int)
    assert_type(await bare.__wrapped__(1), bytes)
    bare.cache_clear()
    await bare.cache_close(wait=True)

    await bare("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bare()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await called(1, "x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await called(1, title="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await with_options("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await by_position(m=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    bare.cache_invalidate("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    called.cache_contains()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content

    @alru_cache
    async def get(self, n: int) -> T:
        return self.content

    @alru_cache(ttl=5)
    async def itself(self) -> "Box[T]":
        return self

    @alru_cache
    @classmethod
    async def class_inside(cls, n: int) -> str:
        return ""

    @classmethod
    @alru_cache(maxsize=5)
    async def class_outside(cls, n: int) -> str:
        return ""

    @alru_cache
    @staticmethod
    async def static_inside(n: int) -> str:
        return ""

    @staticmethod
    @alru_cache
    async def static_outside(n: int) -> str:
        return ""

    async def _add(self, n: int, m: int) -> int:
        return n + m

    partial_inside = alru_cache(partialmethod(_add, 1))
    partial_outside = partialmethod(get, 1)


class IntBox(Box[int]):
    @alru_cache
    async def own(self, n: int) -> "List[IntBox]":
        return [self]


async def methods(box: Box[str], ints: IntBox) -> None:
    assert_type(await box.get(1), str)
    assert_type(await box.itself(), Box[str])
    assert_type(await ints.get(1), int)
    assert_type(await ints.own(1), List[IntBox])
    assert_type(box.get.cache_invalidate(1), bool)
    assert_type(box.get.cache_contains(n=1), bool)
    box.get.cache_clear()
    await box.get.cache_close()

    await box.get("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await box.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ints.own(m=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    box.get.cache_contains("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def accepted(box: Box[str]) -> None:
    """Correct calls whose arguments are not checked."""
    await Box.get(box, 1)
    Box.get.cache_invalidate(box, 1)
    assert_type(await Box.class_inside(1), str)
    assert_type(await box.class_inside(1), str)
    await Box.class_outside(1)
    await box.class_outside(1)
    assert_type(await Box.static_inside(1), str)
    assert_type(await box.static_inside(1), str)
    await Box.static_outside(1)
    await box.static_outside(1)
    await box.partial_inside(2)
    await box.partial_outside()


async def partials() -> None:
    function = alru_cache(partial(bare.__wrapped__, 1))
    assert_type(await function("x"), bytes)
    await function(2)  # pyright: ignore[reportArgumentType]  # mypy knows no better


def assignments() -> None:
    any_arguments: _LRUCacheWrapper[bytes] = bare
    awaitable: Callable[[int], Awaitable[bytes]] = bare
    coroutine: Callable[[int], Coroutine[Any, Any, bytes]] = bare
    del any_arguments, awaitable, coroutine

    wrong_result: _LRUCacheWrapper[str] = bare  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    wrong_argument: Callable[[str], Awaitable[bytes]] = bare  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del wrong_result, wrong_argument


async def existing_code(cached: _LRUCacheWrapper[int]) -> None:
    assert_type(await cached("anything", at="all"), int)


def plain(n: int) -> int:
    return n


alru_cache(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
alru_cache()(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
alru_cache(maxsize="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
alru_cache(ttl="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(key=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(tll=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def says_text(result: bytes) -> str:
    return ""


async def says_later(result: bytes) -> float:
    return 1


alru_cache(ttl=says_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=says_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=lambda: 5)  # type: ignore[arg-type,misc]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=5, refresh="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(ttl=5, refresh=seconds_of)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
alru_cache(per_instance="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def lifetime_of(result: bytes) -> Optional[timedelta]:
    return None


@alru_cache(
    ttl=timedelta(minutes=5), jitter=timedelta(seconds=5), refresh=timedelta(minutes=1)
)
async def with_timedelta(n: int) -> bytes:
    return b""


@alru_cache(ttl=lifetime_of)
async def with_timedelta_of_the_result(n: int) -> bytes:
    return b""
