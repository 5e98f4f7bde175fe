"""Contract 1: names."""

import functools
import re
import typing

import pytest

import async_lru
from async_lru import (
    _R,
    AlruCacheLoopResetWarning,
    _CacheParameters,
    _LRUCacheWrapper,
    _LRUCacheWrapperInstanceMethod,
    alru_cache,
)


@alru_cache
async def identity(x: int) -> int:
    return x


def test_version_is_pep_440() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", async_lru.__version__)


def test_warning_is_a_user_warning() -> None:
    assert issubclass(AlruCacheLoopResetWarning, UserWarning)


def test_wrapper_takes_the_result_type_at_run_time() -> None:
    annotation = _LRUCacheWrapper[int]
    assert typing.get_origin(annotation) is _LRUCacheWrapper
    assert typing.get_args(annotation) == (int,)


def test_types_of_function_and_method() -> None:
    class Box:
        @alru_cache
        async def method(self) -> None: ...

    assert isinstance(identity, _LRUCacheWrapper)
    assert isinstance(Box().method, _LRUCacheWrapperInstanceMethod)


def test_parameters_have_exactly_four_fields() -> None:
    fields = {"typed", "maxsize", "tasks", "closed"}
    assert set(_CacheParameters.__annotations__) == fields
    assert set(identity.cache_parameters()) == fields


def test_info_is_the_standard_librarys() -> None:
    info = identity.cache_info()
    assert type(info) is type(functools.lru_cache()(lambda: None).cache_info())
    assert info._fields == ("hits", "misses", "maxsize", "currsize")


def test_classes_describe_themselves() -> None:
    for cls in _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod:
        assert cls.__doc__
        assert cls.__module__ == "async_lru._wrapper"
    assert _LRUCacheWrapper.__annotations__ == {}


def test_wrapper_takes_one_parameter() -> None:
    wrapper: typing.Any = _LRUCacheWrapper
    with pytest.raises(TypeError):
        wrapper[int, str]


def test_the_type_variable_is_there() -> None:
    assert isinstance(_R, typing.TypeVar)
    annotation: typing.Any = _LRUCacheWrapper
    assert typing.get_args(annotation[_R]) == (_R,)


@pytest.mark.parametrize("options", [{}, {"maxsize": 0}, {"maxsize": None}, {"maxsize": 3}])
def test_signature_of_the_decorator(options: typing.Dict[str, typing.Any]) -> None:
    expected = options.get("maxsize", 128)
    function = alru_cache(**options)(identity.__wrapped__)
    assert function.cache_info().maxsize == expected
    assert function.cache_parameters()["maxsize"] == expected


def test_options_that_are_given_by_name() -> None:
    decorator: typing.Any = alru_cache
    with pytest.raises(TypeError, match="positional"):
        decorator(128, False, 5)
    decorator(128, False, ttl=None, jitter=None, key=None)(identity.__wrapped__)


async def test_positional_options() -> None:
    function = alru_cache(7, True)(identity.__wrapped__)
    assert function.cache_parameters() == {
        "typed": True,
        "maxsize": 7,
        "tasks": 0,
        "closed": False,
    }


@pytest.mark.parametrize("options", [{}, {"per_instance": True}], ids=repr)
async def test_names_that_fixtures_read(options: typing.Any) -> None:
    """Fixtures for 2.4 unbind the function from its loop, through names that are private."""

    class Box:
        @alru_cache(**options)
        async def method(self, x: int) -> int:
            return x

    box: typing.Any = Box()
    function: typing.Any = Box.__dict__["method"]
    for method in Box.method, box.method:
        inner = getattr(method, "_LRUCacheWrapperInstanceMethod__wrapper")  # noqa: B009
        assert inner is function
        setattr(inner, "_LRUCacheWrapper__first_loop", None)  # noqa: B010
    assert [await box.method(1), await box.method(1)] == [1, 1]
    setattr(function, "_LRUCacheWrapper__first_loop", None)  # noqa: B010
    assert await box.method(1) == 1
    assert box.method.cache_info()[:2] == (2, 1)
