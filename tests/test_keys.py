"""Contract 3: keys."""

import sys
from collections.abc import Hashable
from typing import Any, Tuple

import pytest

from async_lru import alru_cache

from .helpers import Counter, Decorate


@pytest.fixture
def counter() -> Counter:
    return Counter()


CALLS: Any = [
    ((), {}),
    ((1,), {}),
    (((1,),), {}),
    ((1, 2), {}),
    (((1, 2),), {}),
    ((2, 1), {}),
    ((), {"x": 1}),
    ((("x", 1),), {}),
    (("x", 1), {}),
    ((), {"a": 1, "b": 2}),
    ((), {"b": 2, "a": 1}),
    ((), {"a": "b", "b": "a"}),
    ((1,), {"a": 2}),
    ((1, "a", 2), {}),
    ((1, int), {}),
    ((None,), {}),
]


@pytest.mark.parametrize("typed", [False, True])
async def test_no_two_call_shapes_collide(
    counter: Counter, cached: Decorate, typed: bool
) -> None:
    function = cached(counter.call, maxsize=None, typed=typed)
    results = [await function(*args, **kwargs) for args, kwargs in CALLS]
    assert results == list(range(1, len(CALLS) + 1))
    assert [await function(*args, **kwargs) for args, kwargs in CALLS] == results
    assert function.cache_info() == (len(CALLS), len(CALLS), None, len(CALLS))


EQUAL: Any = [((1,), {}), ((1.0,), {}), ((True,), {})]
EQUAL_KEYWORDS: Any = [((), {"x": 1}), ((), {"x": 1.0}), ((), {"x": True})]


@pytest.mark.parametrize("calls", [EQUAL, EQUAL_KEYWORDS])
async def test_equal_arguments_share(counter: Counter, cached: Decorate, calls: Any) -> None:
    function = cached(counter.call)
    assert [await function(*args, **kwargs) for args, kwargs in calls] == [1, 1, 1]


@pytest.mark.parametrize("calls", [EQUAL, EQUAL_KEYWORDS])
async def test_typed_tells_them_apart(counter: Counter, cached: Decorate, calls: Any) -> None:
    function = cached(counter.call, typed=True)
    assert [await function(*args, **kwargs) for args, kwargs in calls] == [1, 2, 3]
    assert function.cache_contains(*calls[2][0], **calls[2][1])
    assert function.cache_invalidate(*calls[2][0], **calls[2][1])
    assert function.cache_info().currsize == 2


async def test_key_function_sees_exactly_the_arguments(
    counter: Counter, cached: Decorate
) -> None:
    seen = []

    def key(*args: Any, **kwargs: Any) -> Hashable:
        seen.append((args, kwargs))
        return len(args)

    function = cached(counter.call, key=key)
    assert await function(1, x=2) == 1
    assert await function(3, y=4) == 1
    assert function.cache_contains(5)
    assert function.cache_invalidate(6)
    assert seen == [((1,), {"x": 2}), ((3,), {"y": 4}), ((5,), {}), ((6,), {})]


async def test_key_function_gets_the_instance_first(cached: Decorate) -> None:
    class Box:
        __hash__: Any = None

        def __init__(self, name: str) -> None:
            self.name = name

        async def method(self, x: int) -> Tuple[str, int]:
            return self.name, x

    method = cached(Box.method, key=lambda self, x: (self.name, x))
    assert await method(Box("a"), 1) == ("a", 1)
    assert await method(Box("b"), 1) == ("b", 1)
    assert method.__get__(Box("a")).cache_contains(1)


async def test_what_the_key_function_raises_reaches_the_caller(
    counter: Counter, cached: Decorate
) -> None:
    function = cached(counter.call, key=lambda x: 1 // x)
    with pytest.raises(ZeroDivisionError):
        await function(0)
    with pytest.raises(ZeroDivisionError):
        function.cache_contains(0)
    assert function.cache_info() == (0, 0, 128, 0)


UNHASHABLE: Any = [
    ({}, ([],), {}),
    ({}, (), {"x": []}),
    ({"typed": True}, ([],), {}),
    ({"typed": True}, (), {"x": []}),
    ({"key": lambda x: [x]}, (1,), {}),
]


@pytest.mark.parametrize(("options", "args", "kwargs"), UNHASHABLE)
@pytest.mark.parametrize("used", [False, True])
async def test_unhashable_changes_nothing(
    counter: Counter, cached: Decorate, options: Any, args: Any, kwargs: Any, used: bool
) -> None:
    options = dict(options)
    if used and "key" in options:
        options["key"] = lambda x: x if isinstance(x, str) else [x]
    function = cached(counter.call, **options)
    if used:
        await function("fine")
    before = function.cache_info()
    for call in function.cache_contains, function.cache_invalidate:
        with pytest.raises(TypeError, match="unhashable"):
            call(*args, **kwargs)
    with pytest.raises(TypeError, match="unhashable"):
        await function(*args, **kwargs)
    assert function.cache_info() == before
    assert counter.calls == used


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes are new in 3.11")
@pytest.mark.parametrize(("options", "args", "kwargs"), UNHASHABLE)
async def test_the_note_on_an_unhashable_argument(
    counter: Counter, cached: Decorate, options: Any, args: Any, kwargs: Any
) -> None:
    function = cached(counter.call, **options)
    with pytest.raises(TypeError, match="unhashable") as caught:
        await function(*args, **kwargs)
    (note,) = vars(caught.value)["__notes__"]
    if "key" in options:
        assert note == "The key= function of Counter.call must return a hashable value."
    else:
        assert note == (
            "Counter.call is cached by its arguments. Pass hashable values, use key= to"
            " compute a hashable key or, for a method of instances that are not hashable,"
            " per_instance=True."
        )


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        return self is other

    @alru_cache
    async def method(self) -> int:
        return 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes are new in 3.11")
async def test_the_note_on_an_instance_that_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable") as caught:
        await Unhashable().method()
    (note,) = vars(caught.value)["__notes__"]
    assert note.startswith("Unhashable.method is cached by its arguments")
    assert note.endswith("per_instance=True.")


async def test_no_argument_name_is_taken(counter: Counter, cached: Decorate) -> None:
    names = "self", "fn", "key", "args", "kwargs", "function", "instance", "cache", "wait"
    kwargs = dict.fromkeys(names, 1)

    class Box:
        async def method(*args: Any, **kwargs: Any) -> int:
            return await counter.call(*args, **kwargs)

    bound = cached(Box.method).__get__(Box())
    for function in cached(counter.call), bound:
        assert not function.cache_contains(**kwargs)
        await function(**kwargs)
        assert function.cache_contains(**kwargs)
        assert function.cache_invalidate(**kwargs)
    assert counter.calls == 2


async def test_an_argument_that_cannot_be_compared_does_no_harm(
    counter: Counter, cached: Decorate
) -> None:
    class Fickle:
        failing = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if Fickle.failing:
                raise KeyError("fickle")
            return self is other

    function = cached(counter.call)
    await function(Fickle())
    Fickle.failing = True
    with pytest.raises(KeyError, match="fickle"):
        await function(Fickle())
    Fickle.failing = False
    assert function.cache_info() == (0, 1, 128, 1)
    assert function.cache_parameters()["tasks"] == 0


class Incomparable:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise TypeError("not to be compared")


async def test_what_a_comparison_raises_gets_no_note(
    counter: Counter, cached: Decorate
) -> None:
    """It is hashable: the note about key= would mislead."""
    function = cached(counter.call, key=lambda part: part)
    await function(Incomparable())
    with pytest.raises(TypeError, match="not to be compared") as caught:
        await function(Incomparable())
    assert not hasattr(caught.value, "__notes__")
