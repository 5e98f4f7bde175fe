"""What type checkers see: ``alru_cache``, and decorated functions that keep their signature.

At run time there are only the two base classes of ``_wrapper``, which take any arguments.
Types that keep the parameters need Python 3.10.

A checker must know whether a decorated function is a method before it is bound. The name of
the first parameter says so: ``self`` or ``cls``. pyright, pyrefly and ty choose by that name,
because they compare the unbound object with the method that a protocol or a base class
declares. mypy compares bound methods. These overloads are hidden from it: mypy answers Any if
the type of a function contains Any and several overloads take the function. The name MYPY is
True for mypy alone.
"""

from functools import partialmethod
from typing import (
    Any,
    Callable,
    Coroutine,
    Generic,
    Hashable,
    Protocol,
    TypeVar,
    overload,
)

from typing_extensions import Concatenate, ParamSpec, TypeAlias

from ._options import TTL, Seconds
from ._wrapper import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod

MYPY: bool

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_A = TypeVar("_A")
_A_co = TypeVar("_A_co", covariant=True)
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_T_contra = TypeVar("_T_contra", contravariant=True)

# What is decorated.

class _FunctionOfSelf(Protocol[_T_contra, _P, _R_co]):
    def __call__(
        _,  # pyright: ignore[reportSelfClsParameterName]
        self: _T_contra,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> Coroutine[Any, Any, _R_co]: ...

class _FunctionOfCls(Protocol[_T_contra, _P, _R_co]):
    def __call__(
        _,  # pyright: ignore[reportSelfClsParameterName]
        cls: _T_contra,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> Coroutine[Any, Any, _R_co]: ...

_Descriptor: TypeAlias = (
    classmethod[Any, ..., Coroutine[Any, Any, _R]]
    | staticmethod[..., Coroutine[Any, Any, _R]]
    | partialmethod[Coroutine[Any, Any, _R]]
)

# The result, before it is bound.

class _CachedFunction(_LRUCacheWrapper[_R_co], Generic[_P, _R_co]):
    """Any function for mypy. For the others, one without ``self`` or ``cls`` first."""

    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

    __wrapped__: Callable[_P, Coroutine[Any, Any, _R_co]]
    # For _First alone: there is no such attribute at run time.
    @property
    def __variables__(self) -> _Variables[_P, _R_co] | _Anything: ...

    # A method, through its class.
    @overload
    def __get__(
        self: _First[_T, _Q, _R, Any], instance: None, owner: type[_T]
    ) -> _CachedFunction[Concatenate[Any, _Q], _R]: ...
    # A method, through an instance.
    @overload
    def __get__(
        self: _First[_T, _Q, _R, _A], instance: _A, owner: type[_T]
    ) -> _CachedMethod[_T, _Q, _R]: ...
    # A classmethod, through either.
    @overload
    def __get__(
        self: _First[type[_T], _Q, _R, _A], instance: _A, owner: type[_T]
    ) -> _CachedMethod[type[_T], _Q, _R]: ...
    # A method with type variables, through an instance.
    @overload
    def __get__(
        self: Callable[Concatenate[_T, ...], Any], instance: _T, owner: type | None = None
    ) -> _CachedGenericMethod[_P, _R_co]: ...
    # A classmethod with type variables, through either.
    @overload
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[_T], ...], Any], instance: _T | None, owner: type[_T]
    ) -> _CachedGenericMethod[_P, _R_co]: ...
    # A staticmethod: its first parameter takes neither the instance nor the class.
    @overload
    def __get__(
        self: _First[Any, _Q, _R, _A], instance: _A, owner: type | None = None
    ) -> _CachedStatic[_P, _R_co]: ...
    @overload
    def __get__(
        self: Callable[[], Any], instance: object, owner: type | None = None
    ) -> _CachedStatic[_P, _R_co]: ...
    # A method that returns Self, or a staticmethod with type variables.
    @overload
    def __get__(
        self, instance: object, owner: type | None = None
    ) -> _CachedEither[_P, Any]: ...

class _First(Protocol[_T_contra, _Q, _R_co, _A_co]):
    """A function with a first parameter. ``_A_co`` excludes functions with type variables.

    mypy infers Never for every variable of this protocol whose value would contain a type
    variable of the function. The type of ``__variables__`` contains all of them, so
    ``_A_co`` is Never for a function with type variables. Never accepts no instance, and mypy
    tries the next overload. For any other function ``_A_co`` accepts every instance.
    """

    def __call__(
        self, first: _T_contra, /, *args: _Q.args, **kwargs: _Q.kwargs
    ) -> Coroutine[Any, Any, _R_co]: ...
    @property
    def __variables__(self) -> _A_co: ...

class _Anything(Protocol):
    def __hash__(self) -> int: ...

class _Variables(Generic[_P, _R_co]):
    # Not _Anything, or mypy would drop it from the union.
    __hash__: None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

class _CachedOfSelf(_LRUCacheWrapper[_R_co], Generic[_T_co, _P, _R_co]):
    """A function whose first parameter is ``self``: a method, as a rule."""

    # Without self, for comparison with a method. With self, for a call of the function.
    @overload
    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    @overload
    async def __call__(
        _,  # pyright: ignore[reportSelfClsParameterName]
        self: _T_co,  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R_co: ...
    # In an Enum, pyright does not take the type of a member for a type: owner is Any.
    @overload
    def __get__(
        self, instance: None, owner: Any = None
    ) -> _CachedFunction[Concatenate[_T_co, _P], _R_co]: ...
    @overload
    def __get__(
        self,
        instance: _T_co,  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
        owner: Any = None,
    ) -> _CachedMethod[_T_co, _P, _R_co]: ...
    # For ty, which does not know Self here.
    @overload
    def __get__(
        self, instance: object, owner: Any = None
    ) -> _CachedMethod[Any, _P, _R_co]: ...

class _CachedOfCls(_LRUCacheWrapper[_R_co], Generic[_T_co, _P, _R_co]):
    """A function whose first parameter is ``cls``, or a classmethod."""

    @overload
    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    @overload
    async def __call__(
        self,
        cls: _T_co,  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R_co: ...
    def __get__(
        self, instance: object, owner: type[_T]
    ) -> _CachedMethod[type[_T], _P, _R_co]: ...

class _CachedStatic(_LRUCacheWrapper[_R_co], Generic[_P, _R_co]):
    """A staticmethod. It is not bound."""

    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

# The result, bound.

class _CachedMethod(_LRUCacheWrapperInstanceMethod[_R_co, _T_co], Generic[_T_co, _P, _R_co]):
    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...

class _CachedGenericMethod(_LRUCacheWrapperInstanceMethod[_R_co, Any], Generic[_P, _R_co]):
    """A method with type variables. ``_P`` has the first parameter; a call omits it."""

    async def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self: _CachedGenericMethod[Concatenate[Any, _Q], _R],
        *args: _Q.args,
        **kwargs: _Q.kwargs,
    ) -> _R: ...
    def cache_contains(
        self: _CachedGenericMethod[Concatenate[Any, _Q], Any],
        *args: _Q.args,
        **kwargs: _Q.kwargs,
    ) -> bool: ...
    def cache_invalidate(
        self: _CachedGenericMethod[Concatenate[Any, _Q], Any],
        *args: _Q.args,
        **kwargs: _Q.kwargs,
    ) -> bool: ...

class _CachedEither(_LRUCacheWrapper[_R_co], Generic[_P, _R_co]):
    """It is not known whether the first argument is bound."""

    @overload
    async def __call__(
        self: _CachedEither[Concatenate[Any, _Q], _R], *args: _Q.args, **kwargs: _Q.kwargs
    ) -> _R: ...
    @overload
    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...

class _Decorator(Protocol):
    """``alru_cache(...)`` with its options, waiting for the function."""

    if not MYPY:
        @overload
        def __call__(  # pyright: ignore[reportOverlappingOverload]
            self, function: _FunctionOfSelf[_T, _P, _R], /
        ) -> _CachedOfSelf[_T, _P, _R]: ...
        @overload
        def __call__(
            self, function: _FunctionOfCls[_T, _P, _R], /
        ) -> _CachedOfCls[_T, _P, _R]: ...

    @overload
    def __call__(
        self, function: Callable[_P, Coroutine[Any, Any, _R]], /
    ) -> _CachedFunction[_P, _R]: ...
    @overload
    def __call__(
        self, function: classmethod[_T, _P, Coroutine[Any, Any, _R]], /
    ) -> _CachedOfCls[type[_T], _P, _R]: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: staticmethod[_P, Coroutine[Any, Any, _R]], /
    ) -> _CachedStatic[_P, _R]: ...
    @overload
    def __call__(self, function: _Descriptor[_R], /) -> _LRUCacheWrapper[_R]: ...

    if not MYPY:
        # What 2.4 declared: one overload has to take the whole union.
        @overload
        def __call__(
            self, function: Callable[..., Coroutine[Any, Any, _R]] | _Descriptor[_R], /
        ) -> _LRUCacheWrapper[_R]: ...

if not MYPY:
    @overload
    def alru_cache(  # pyright: ignore[reportOverlappingOverload]
        maxsize: _FunctionOfSelf[_T, _P, _R],
        /,
        typed: bool = False,
        *,
        ttl: TTL = None,
        jitter: Seconds | None = None,
        key: Callable[..., Hashable] | None = None,
        refresh: Seconds | None = None,
        per_instance: bool = False,
    ) -> _CachedOfSelf[_T, _P, _R]: ...
    @overload
    def alru_cache(
        maxsize: _FunctionOfCls[_T, _P, _R],
        /,
        typed: bool = False,
        *,
        ttl: TTL = None,
        jitter: Seconds | None = None,
        key: Callable[..., Hashable] | None = None,
        refresh: Seconds | None = None,
        per_instance: bool = False,
    ) -> _CachedOfCls[_T, _P, _R]: ...

@overload
def alru_cache(
    maxsize: Callable[_P, Coroutine[Any, Any, _R]],
    /,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Seconds | None = None,
    key: Callable[..., Hashable] | None = None,
    refresh: Seconds | None = None,
    per_instance: bool = False,
) -> _CachedFunction[_P, _R]: ...
@overload
def alru_cache(
    maxsize: classmethod[_T, _P, Coroutine[Any, Any, _R]],
    /,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Seconds | None = None,
    key: Callable[..., Hashable] | None = None,
    refresh: Seconds | None = None,
    per_instance: bool = False,
) -> _CachedOfCls[type[_T], _P, _R]: ...
@overload
def alru_cache(  # pyright: ignore[reportOverlappingOverload]
    maxsize: staticmethod[_P, Coroutine[Any, Any, _R]],
    /,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Seconds | None = None,
    key: Callable[..., Hashable] | None = None,
    refresh: Seconds | None = None,
    per_instance: bool = False,
) -> _CachedStatic[_P, _R]: ...
@overload
def alru_cache(
    maxsize: _Descriptor[_R],
    /,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Seconds | None = None,
    key: Callable[..., Hashable] | None = None,
    refresh: Seconds | None = None,
    per_instance: bool = False,
) -> _LRUCacheWrapper[_R]: ...
@overload
def alru_cache(
    maxsize: int | None = 128,
    typed: bool = False,
    *,
    ttl: TTL = None,
    jitter: Seconds | None = None,
    key: Callable[..., Hashable] | None = None,
    refresh: Seconds | None = None,
    per_instance: bool = False,
) -> _Decorator: ...
