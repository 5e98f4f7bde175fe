"""What type checkers see: decorated functions that keep their signature.

A stub without a module. At run time there are just the two base classes, which take any
arguments: a parameter specification, which tells more, needs Python 3.10.
"""

from functools import partialmethod
from typing import Any, Callable, Coroutine, Generic, Protocol, TypeVar, overload

from typing_extensions import Concatenate, ParamSpec, TypeAlias

from ._wrapper import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)
_T = TypeVar("_T")

class _CachedFunction(_LRUCacheWrapper[_R_co], Generic[_P, _R_co]):
    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

    __wrapped__: Callable[_P, Coroutine[Any, Any, _R_co]]

    # On a class, whose parameters are not known yet, or whose classmethod this is.
    # (Both checkers hold the self-type of the second overload against the base class, as if
    # the last did not take what it does not.)
    @overload  # type: ignore[override]
    def __get__(
        self, instance: None, owner: type | None = None
    ) -> _LRUCacheWrapper[_R_co]: ...
    # On an instance, which is the first argument.
    @overload
    def __get__(
        self: Callable[Concatenate[_T, _Q], Coroutine[Any, Any, _R]],
        instance: _T,
        owner: type | None = None,
    ) -> _CachedMethod[_Q, _R]: ...
    # On an instance, which is none of the arguments: as a classmethod or staticmethod.
    @overload
    def __get__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, instance: object, owner: type | None = None
    ) -> _LRUCacheWrapperInstanceMethod[_R_co, Any]: ...

class _CachedMethod(_LRUCacheWrapperInstanceMethod[_R_co, Any], Generic[_P, _R_co]):
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> Coroutine[Any, Any, _R_co]: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

_Descriptor: TypeAlias = (
    classmethod[Any, ..., Coroutine[Any, Any, _R]]
    | staticmethod[..., Coroutine[Any, Any, _R]]
    | partialmethod[Coroutine[Any, Any, _R]]
)

class _Decorator(Protocol):
    """``alru_cache(...)`` with its options, waiting for the function."""

    @overload
    def __call__(
        self, function: Callable[_P, Coroutine[Any, Any, _R]], /
    ) -> _CachedFunction[_P, _R]: ...
    @overload
    def __call__(self, function: _Descriptor[_R], /) -> _LRUCacheWrapper[_R]: ...
