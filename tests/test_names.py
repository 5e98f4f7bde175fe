"""Contract 1: names."""

import functools
import re
import typing
from typing import Any, List, Optional, Union

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

from .helpers import identity

cached = alru_cache(identity)


class Box:
    @alru_cache
    async def method(self) -> None: ...


def test_version_is_pep_440() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", async_lru.__version__)


def test_warning_is_a_user_warning() -> None:
    assert issubclass(AlruCacheLoopResetWarning, UserWarning)


def test_wrapper_takes_one_parameter() -> None:
    wrapper: Any = _LRUCacheWrapper
    for parameter in int, _R:
        assert typing.get_origin(wrapper[parameter]) is _LRUCacheWrapper
        assert typing.get_args(wrapper[parameter]) == (parameter,)
    assert isinstance(_R, typing.TypeVar)
    with pytest.raises(TypeError):
        wrapper[int, str]


def test_annotations_can_be_evaluated() -> None:
    def clear(function: "_LRUCacheWrapper[_R]") -> "_LRUCacheWrapper[_R]":
        function.cache_clear()
        return function

    class Registry:
        functions: "List[_LRUCacheWrapper[Any]]"

    assert clear(cached) is cached
    hints = typing.get_type_hints(Registry, {"List": List, **globals()})
    assert hints == {"functions": List[_LRUCacheWrapper[Any]]}
    assert Optional[_LRUCacheWrapper[int]] == Union[_LRUCacheWrapper[int], None]


def test_types_of_function_and_method() -> None:
    assert isinstance(cached, _LRUCacheWrapper)
    assert isinstance(Box().method, _LRUCacheWrapperInstanceMethod)


def test_parameters_have_exactly_four_fields() -> None:
    fields = {"typed", "maxsize", "tasks", "closed"}
    assert set(_CacheParameters.__annotations__) == fields
    assert set(cached.cache_parameters()) == fields


def test_info_is_the_standard_librarys() -> None:
    info = cached.cache_info()
    assert type(info) is type(functools.lru_cache()(lambda: None).cache_info())
    assert info._fields == ("hits", "misses", "maxsize", "currsize")


def test_classes_describe_themselves() -> None:
    for cls in _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod:
        assert cls.__doc__
        assert cls.__module__ == "async_lru._wrapper"
    assert _LRUCacheWrapper.__annotations__ == {}


@pytest.mark.parametrize("options", [{}, {"maxsize": 0}, {"maxsize": None}, {"maxsize": 3}])
def test_maxsize_is_128_unless_given(options: Any) -> None:
    expected = options.get("maxsize", 128)
    function = alru_cache(**options)(identity)
    assert function.cache_info().maxsize == expected
    assert function.cache_parameters()["maxsize"] == expected


def test_maxsize_and_typed_by_position() -> None:
    function = alru_cache(7, True)(identity)
    parameters = {"typed": True, "maxsize": 7, "tasks": 0, "closed": False}
    assert function.cache_parameters() == parameters


@pytest.mark.parametrize("options", [{}, {"per_instance": True}], ids=repr)
async def test_names_that_fixtures_read(options: Any) -> None:
    """Fixtures for 2.4 unbind a function from its loop, through private names."""

    class Box:
        @alru_cache(**options)
        async def method(self, x: int) -> int:
            return x

    box: Any = Box()
    function: Any = Box.__dict__["method"]
    for method in Box.method, box.method:
        inner = getattr(method, "_LRUCacheWrapperInstanceMethod__wrapper")  # noqa: B009
        assert inner is function
        setattr(inner, "_LRUCacheWrapper__first_loop", None)  # noqa: B010
    assert [await box.method(1), await box.method(1)] == [1, 1]
    setattr(function, "_LRUCacheWrapper__first_loop", None)  # noqa: B010
    assert await box.method(1) == 1
    assert box.method.cache_info()[:2] == (2, 1)
