"""A cache for each instance of a method's class: ``per_instance=True``."""

import contextlib
import itertools
from asyncio import get_running_loop
from functools import partial
from time import monotonic
from typing import (
    Any,
    Callable,
    Coroutine,
    Dict,
    Hashable,
    List,
    Optional,
    Tuple,
    TypeVar,
    cast,
)
from weakref import ref

from ._answer import answer
from ._cache import Cache
from ._closing import close
from ._entry import MISSING, Entry
from ._function import Text, coroutine_function
from ._keys import is_instance_of_method
from ._loops import Loops, states_in
from ._wrapper import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod

_R = TypeVar("_R", covariant=True)
_T = TypeVar("_T")

_numbers = itertools.count()


def _nobody() -> None:
    """Stand for the weak reference to an instance that is gone."""


class Kept:
    """What an instance keeps in its ``__dict__`` for a decorated method: its caches.

    It serves its owner only, told by identity. A shallow copy of the instance has the same
    object, a deep copy or a pickle an empty one: either gets its own with its first call.
    """

    __slots__ = ("__weakref__", "loops", "owner", "serving")

    # None without an owner.
    loops: Any
    serving: Any

    def __init__(self) -> None:
        self.owner: Callable[[], Any] = _nobody

    def __reduce__(self) -> Tuple[Any, ...]:
        return Kept, ()


def _empty(reference: "ref[Kept]", _: object) -> None:
    """The instance is gone, and its results with it, even if a copy has what it kept."""
    kept: Any = reference()
    with contextlib.suppress(AttributeError):  # it may have gone as well
        kept.loops.empty()  # something may still refer to a call of the instance
        kept.loops = kept.serving = None


def _cannot_store(name: str, instance: Any) -> str:
    """Explain why an instance cannot hold a cache, and what helps."""
    attributes = getattr(instance, "__dict__", None)
    if attributes is None:
        lacks = "has no __dict__"
    elif isinstance(attributes, dict):
        lacks = "cannot be weakly referenced"
    else:
        lacks = "has no writable __dict__"
    whose = f"Is {name} a method? If so, its"
    if is_instance_of_method(name, instance):
        whose = "Its"
    return (
        f"per_instance=True stores the cache of {name} in its first argument;"
        f" {type(instance).__qualname__} {lacks}. {whose} class needs __dict__ and"
        " __weakref__: slots=False (dataclasses, attrs), dict=True, weakref=True (msgspec), or"
        ' __slots__ = (..., "__dict__", "__weakref__").'
    )


class PerInstanceWrapper(_LRUCacheWrapper[_R]):
    """A decorated method that keeps a cache in each instance."""

    __slots__ = ("__agreed__", "__entry__", "__whole__")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Private to this function: an override and what it overrides have one each.
        self.__entry__ = f"_cache_{next(_numbers)}_of_{self.__dict__.get('__name__')}"
        # By the id of an instance, what threads are about to put into it.
        self.__agreed__: Dict[int, Kept] = {}
        # Whether the key is made of all arguments, the instance included.
        self.__whole__ = self.__decorated__.options.keyed

    # As its base's, with the cache of the instance.
    async def __call__(self, instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> _R:
        key = args if self.__plain__ and not kwargs else self.__key__(instance, args, kwargs)
        try:
            kept = instance.__dict__[self.__entry__]
            cache = kept.serving[get_running_loop()] if kept.owner() is instance else None
        except (AttributeError, KeyError):
            kept = cache = None
        if cache is None:
            kept, cache = self.__enter_for__(instance, key)
        try:
            found: Any = cache.lookup(key, MISSING)
        except TypeError as error:
            self.__decorated__.explain(error, key)
            raise
        if type(found) is not Entry:
            value = found
        elif monotonic() < found.deadline:
            value = found.value
        else:
            try:
                waiter, call = answer(cache, found, key, (instance, *args), kwargs)
            except BaseException:
                self.__tidy__(instance)
                del kept, cache, found  # an exception keeps this frame
                raise
            # Another thread, whose call has failed, may have found it unused.
            instance.__dict__.setdefault(self.__entry__, kept)
            del kept, cache, found  # while it waits, it keeps nothing that is cleared
            try:
                return await waiter  # type: ignore[no-any-return]
            except BaseException as error:  # noqa: BLE001
                raise call.failed(waiter, error)  # noqa: B904
            finally:
                del waiter, call
        if cache.bounded:
            cache.touch(key)
        cache.hits += 1
        return value  # type: ignore[no-any-return]

    def __require__(self, instance: Any) -> None:
        if instance is MISSING:
            raise TypeError(
                "per_instance=True stores the cache in the first positional argument, and"
                f" {self.__decorated__.name} was called without one. Pass the instance by"
                " position."
            )

    def __key__(self, instance: Any, args: Any, kwargs: Any) -> Hashable:
        self.__require__(instance)
        key: Hashable = self.__make_key__(
            (instance, *args) if self.__whole__ else args, kwargs
        )
        return key

    def __enter_for__(self, instance: Any, key: Hashable) -> Tuple[Kept, Cache]:
        """What an instance keeps, with its cache for the running loop in service."""
        self.__require__(instance)
        self.__decorated__.require_hashable(key)
        kept = self.__hold__(instance)
        try:
            loops: Loops = kept.loops
            return kept, loops.enter()
        except BaseException:
            self.__tidy__(instance)
            raise

    def __hold__(self, instance: Any) -> Kept:
        """What an instance keeps, made if need be. Of several threads, one makes it."""
        kept = Kept()
        kept.loops = Loops(self.__decorated__)
        kept.serving = kept.loops.serving
        try:
            kept.owner = ref(instance, partial(_empty, ref(kept)))
            there: Kept = instance.__dict__.setdefault(self.__entry__, kept)
        except (AttributeError, TypeError):
            raise TypeError(_cannot_store(self.__decorated__.name, instance)) from None
        while there.owner() is not instance:  # copied from another one, or unpickled
            # Several threads that find it put the same in its place. Whoever agrees with none
            # of them, as they are done, finds that.
            own = self.__agreed__.setdefault(id(instance), kept)
            if instance.__dict__.get(self.__entry__) is there:
                instance.__dict__[self.__entry__] = own
            self.__agreed__.pop(id(instance), None)
            there = instance.__dict__.setdefault(self.__entry__, own)
        return there

    def __of__(self, instance: Any) -> List[Loops]:
        """What an instance keeps, if it does."""
        kept: Optional[Kept] = getattr(instance, "__dict__", {}).get(self.__entry__)
        return [] if kept is None or kept.owner() is not instance else [kept.loops]

    def __tidy__(self, instance: Any) -> None:
        """Keep nothing for a call that has failed before there was anything to keep."""
        for loops in self.__of__(instance):
            if loops.is_unused():
                instance.__dict__.pop(self.__entry__, None)

    def cache_contains(self, instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> bool:
        """Whether there is an entry for a call on this instance with these arguments."""
        key = self.__key__(instance, args, kwargs)
        self.__decorated__.require_hashable(key)
        return any(loops.contain(key) for loops in self.__of__(instance))

    def cache_invalidate(self, instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the entry for a call on this instance with these arguments."""
        key = self.__key__(instance, args, kwargs)
        self.__decorated__.require_hashable(key)
        return any(loops.invalidate(key) for loops in self.__of__(instance))

    async def cache_close(self, *, wait: bool = False) -> None:
        """Close the running loop's caches, of all instances, those to come included."""
        self.__decorated__.closed.add(get_running_loop())
        await close(states_in(get_running_loop(), self.__decorated__.every()), wait)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else PerInstanceMethod(self, instance)


_call: Callable[..., Coroutine[Any, Any, Any]] = cast("Any", PerInstanceWrapper).__call__


class PerInstanceMethod(_LRUCacheWrapperInstanceMethod[_R, _T]):
    """One bound to its instance: all it does is about that."""

    __slots__ = ()
    __module__ = Text(__name__)
    __doc__ = Text(__doc__)

    @coroutine_function
    def __call__(self, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, _R]:
        if not kwargs:  # as most calls have none: a dict less to be made
            return _call(self.__func__, self.__self__, *args)
        return _call(self.__func__, self.__self__, *args, **kwargs)

    def __every__(self) -> List[Loops]:
        function: Any = self.__func__
        return cast("List[Loops]", function.__of__(self.__self__))

    async def __close__(self, wait: bool) -> None:
        function: Any = self.__func__
        await close([function.__hold__(self.__self__).loops.here()], wait)
