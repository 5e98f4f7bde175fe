"""A cache for each instance of a method's class: ``per_instance=True``."""

import contextlib
import itertools
from asyncio import get_running_loop
from functools import partial
from time import monotonic
from typing import Any, Callable, Coroutine, Hashable, List, Optional, TypeVar, cast
from weakref import ref

from ._cache import EMPTY, MISSING, Entry
from ._call import answer, close, function_coroutine
from ._function import Text
from ._keys import MakeKey, is_instance_of_method, untyped_key
from ._loops import Function, Loops
from ._wrapper import _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod

_R = TypeVar("_R", covariant=True)
_T = TypeVar("_T")

_numbers = itertools.count()


class Instances:
    """Where the instances keep the caches of a decorated method.

    The caches of an instance serve only their owner, told by identity: a shallow copy of the
    instance refers to them as well, a deep copy or a pickle has None in their place. Either
    gets its own with its first call.
    """

    __slots__ = ("entry", "function", "make_key", "whole")

    def __init__(self, function: Function, make_key: MakeKey, name: str) -> None:
        self.function = function
        self.make_key = make_key
        # Private to this function: an override and what it overrides have one each.
        self.entry = f"_cache_{next(_numbers)}_of_{name}"
        # Whether the key is made of all arguments, the instance included.
        self.whole = function.options.keyed

    def key(self, instance: Any, args: Any, kwargs: Any) -> Hashable:
        self.require(instance)
        return self.make_key((instance, *args) if self.whole else args, kwargs)

    def require(self, instance: Any) -> None:
        if instance is MISSING:
            raise TypeError(
                "per_instance=True stores the cache in the first positional argument, and"
                f" {self.function.name} was called without one. Pass the instance by position."
            )

    def find(self, instance: Any) -> Optional[Loops]:
        """The caches of an instance, if there are any."""
        loops: Optional[Loops] = getattr(instance, "__dict__", {}).get(self.entry)
        return None if loops is None or loops.owner() is not instance else loops

    def hold(self, instance: Any) -> Loops:
        """The caches of an instance, made if need be. Of several threads, one makes them."""
        loops = Loops(self.function)
        try:
            loops.owner = ref(instance, partial(_empty, ref(loops)))
            there = instance.__dict__.setdefault(self.entry, loops)
        except (AttributeError, TypeError):
            raise TypeError(_cannot_store(self.function.name, instance)) from None
        if there is None or there.owner() is not instance:  # of what this is a copy of
            there = instance.__dict__[self.entry] = loops
        return cast("Loops", there)

    def __repr__(self) -> str:
        return f"<Instances of {self.function.name}>"


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


def _empty(reference: "ref[Loops]", _: object) -> None:
    """The instance is gone, and its results with it, even if a copy refers to its caches."""
    with contextlib.suppress(AttributeError):  # they may be gone as well
        cast("Any", reference()).empty()


class PerInstanceWrapper(_LRUCacheWrapper[_R]):
    """A decorated method that keeps a cache in each instance."""

    __slots__ = ("__instances__",)

    def __prepare__(self) -> Any:
        name = str(self.__dict__.get("__name__"))
        self.__instances__: Any = Instances(self.__decorated__, self.__make_key__, name)
        return _calling(self.__instances__)

    def __find__(self, instance: Any, args: Any, kwargs: Any) -> "tuple[Hashable, Any]":
        key = self.__instances__.key(instance, args, kwargs)
        self.__decorated__.require_hashable(key)
        return key, self.__instances__.find(instance)

    def cache_contains(self, instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> bool:
        """Whether there is an entry for a call on this instance with these arguments."""
        key, loops = self.__find__(instance, args, kwargs)
        return loops is not None and loops.contains(key)

    def cache_invalidate(self, instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the entry for a call on this instance with these arguments."""
        key, loops = self.__find__(instance, args, kwargs)
        return loops is not None and loops.invalidate(key)

    async def cache_close(self, *, wait: bool = False) -> None:
        """Close the running loop's caches, of all instances, those to come included."""
        function: Function = self.__decorated__
        function.closed[ref(get_running_loop())] = None
        await close(function.every(), wait)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else PerInstanceMethod(self, instance)


def _calling(instances: Instances) -> Callable[..., Coroutine[Any, Any, Any]]:
    """As for any decorated function, with the caches of the instance."""
    plain, entry = instances.make_key is untyped_key, instances.entry
    function = instances.function

    async def call(instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> Any:
        key = args if plain and not kwargs else instances.key(instance, args, kwargs)
        cache, found = EMPTY, MISSING
        try:
            loops = instance.__dict__[entry]
            if loops.owner() is instance:
                cache = loops.serving[get_running_loop()]
        except (AttributeError, KeyError):
            pass
        try:
            found = cache.lookup(key, MISSING)
        except TypeError as error:
            function.explain(error, key)
            raise
        if type(found) is not Entry:
            value = found
        elif monotonic() < found.fresh_until:
            value = found.value
        else:
            del cache
            return await _start(instances, instance, key, args, kwargs)
        if cache.bounded:
            cache.touch(key)
        cache.hits += 1
        return value

    return call


def _start(instances: Instances, instance: Any, key: Hashable, args: Any, kwargs: Any) -> Any:
    instances.require(instance)
    args = (instance, *args)
    loops, coroutine = instances.find(instance), None
    if loops is None:
        # First the coroutine: what fails here leaves nothing in the instance.
        instances.function.check_open()
        coroutine = function_coroutine(instances.function, args, kwargs)
        try:
            loops = instances.hold(instance)
        except BaseException:
            coroutine.close()
            raise
    return answer(loops, EMPTY, MISSING, key, args, kwargs, coroutine)


class PerInstanceMethod(_LRUCacheWrapperInstanceMethod[_R, _T]):
    """One bound to its instance: all it does is about that."""

    __slots__ = ()
    __module__ = Text(__name__)
    __doc__ = Text(__doc__)

    def __every__(self) -> List[Loops]:
        function: Any = self.__func__
        loops = function.__instances__.find(self.__self__)
        return [] if loops is None else [loops]

    async def __close__(self, wait: bool) -> None:
        function: Any = self.__func__
        await close([function.__instances__.hold(self.__self__)], wait)
