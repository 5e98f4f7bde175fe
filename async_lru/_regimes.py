"""The two regimes: calls use the caches of the function, or those of their instance.

Each has a coroutine function that does a whole hit. Their common lines are written twice,
because each hit would pay for a Python call in between. They do not refer to the wrapper:
that would be a reference cycle, which keeps a decorated function alive after it is dropped.
"""

import asyncio
import itertools
from functools import partial
from time import monotonic
from typing import Any, Callable, Coroutine, Dict, Hashable, List, Optional, Tuple, cast
from weakref import ref

from ._answer import answer, function_coroutine
from ._cache import EMPTY, MISSING, Entry
from ._caches import Caches, Function
from ._options import Options, untyped_key

AsyncFunction = Callable[..., Coroutine[Any, Any, Any]]


class Shared(Function):
    """All calls share one cache in each event loop."""

    def find(self, args: Any, kwargs: Any) -> Tuple[Hashable, List[Caches]]:
        """The key of a call, and the caches that it uses if they exist."""
        key = self.make_key(args, kwargs)
        self.require_hashable(key)
        return key, self.every()

    def every_of(self, instance: Any) -> List[Caches]:  # noqa: ARG002
        """The caches that the methods of a bound method affect: here those of the function."""
        return self.every()

    def closing_of(self, instance: Any) -> List[Caches]:  # noqa: ARG002
        return self.closing()

    def coroutine_function(self) -> AsyncFunction:
        plain, make_key = self.make_key is untyped_key, self.make_key
        caches = Caches(self)  # the coroutine function keeps it alive
        serving = caches.serving

        async def call(*args: Any, **kwargs: Any) -> Any:
            key = args if plain and not kwargs else make_key(args, kwargs)
            cache = serving.get(asyncio.get_running_loop(), EMPTY)
            try:
                found: Any = cache.lookup(key, MISSING)
            except TypeError as error:
                self.explain(error, key)
                raise
            if type(found) is not Entry:
                value = found
            elif monotonic() < found.fresh_until:
                value = found.value
            else:
                waiting = answer(caches, cache, found, key, args, kwargs)
                del cache, found  # while it waits, a caller keeps nothing that is cleared
                return await waiting
            if cache.bounded:
                cache.touch(key)
            cache.hits += 1
            return value

        return call


_numbers = itertools.count()


class PerInstance(Function):
    """Each instance has its own caches, one in each event loop.

    They serve only the instance that they were made for. A shallow copy also refers to them,
    and a deep copy or a pickle has None instead. Either gets its own caches on its first call.
    """

    def __init__(self, function: Callable[..., Any], name: str, options: Options) -> None:
        super().__init__(function, name, options)
        # The name of the caches in the __dict__ of an instance. Each function has its own,
        # because an override and the method that it overrides may be called on one instance.
        self.attribute = f"_cache_{next(_numbers)}_of_{name.rpartition('.')[2]}"

    def key(self, instance: Any, args: Any, kwargs: Any) -> Hashable:
        self.require(instance)
        if self.options.key is not None:
            args = (instance, *args)
        return self.make_key(args, kwargs)

    def require(self, instance: Any) -> None:
        if instance is MISSING:
            raise TypeError(
                "per_instance=True stores the cache in the first positional argument, and"
                f" {self.name} was called without one. Pass the instance by position."
            )

    def caches_of(self, instance: Any) -> Optional[Caches]:
        caches: Optional[Caches] = getattr(instance, "__dict__", {}).get(self.attribute)
        return None if caches is None or caches.owner() is not instance else caches

    def find(self, args: Any, kwargs: Any) -> Tuple[Hashable, List[Caches]]:
        instance, *others = args or (MISSING,)
        key = self.key(instance, tuple(others), kwargs)
        self.require_hashable(key)
        return key, self.every_of(instance)

    def every_of(self, instance: Any) -> List[Caches]:
        caches = self.caches_of(instance)
        return [] if caches is None else [caches]

    def closing_of(self, instance: Any) -> List[Caches]:
        return [self.make_caches(instance)]

    def make_caches(self, instance: Any) -> Caches:
        """The caches of an instance, which are made if it has none."""
        caches = Caches(self)
        try:
            caches.owner = ref(instance, partial(_remove_all, caches.serving, caches.by_loop))
            kept = instance.__dict__.setdefault(self.attribute, caches)
        except (AttributeError, TypeError):
            raise TypeError(
                f"per_instance=True stores the cache of {self.name} in its first argument, and"
                f" {type(instance).__qualname__} lacks a writable __dict__ or cannot be weakly"
                " referenced. Its class needs slots=False (dataclasses, attrs), dict=True,"
                ' weakref=True (msgspec), or __slots__ = (..., "__dict__", "__weakref__").'
            ) from None
        # A copied instance has the caches of the original, or None.
        if kept is None or kept.owner() is not instance:
            kept = instance.__dict__[self.attribute] = caches
        return cast("Caches", kept)

    def coroutine_function(self) -> AsyncFunction:
        plain = self.make_key is untyped_key
        attribute = self.attribute

        async def call(instance: Any = MISSING, /, *args: Any, **kwargs: Any) -> Any:
            key = args if plain and not kwargs else self.key(instance, args, kwargs)
            cache, found = EMPTY, MISSING
            try:
                caches = instance.__dict__[attribute]
                if caches.owner() is instance:
                    cache = caches.serving[asyncio.get_running_loop()]
            except (AttributeError, KeyError):
                pass
            try:
                found = cache.lookup(key, MISSING)
            except TypeError as error:
                self.explain(error, key)
                raise
            if type(found) is not Entry:
                value = found
            elif monotonic() < found.fresh_until:
                value = found.value
            else:
                del cache, found  # while it waits, a caller keeps nothing that is cleared
                return await self.answer(instance, key, args, kwargs)
            if cache.bounded:
                cache.touch(key)
            cache.hits += 1
            return value

        return call

    def answer(self, instance: Any, key: Hashable, args: Any, kwargs: Any) -> Any:
        self.require(instance)
        args = (instance, *args)
        caches, coroutine = self.caches_of(instance), None
        if caches is None:
            # These come first, so that a failure leaves nothing in the instance.
            if ref(asyncio.get_running_loop()) in self.closed:
                raise self.closed_error()
            coroutine = function_coroutine(self, args, kwargs)
            try:
                caches = self.make_caches(instance)
            except BaseException:
                coroutine.close()
                raise
        return answer(caches, EMPTY, MISSING, key, args, kwargs, coroutine)


def _remove_all(serving: Dict[Any, Any], by_loop: Dict[Any, Any], _: object) -> None:
    """Empty the caches of an instance that has been freed: a copy may still refer to them.

    This uses no global name, because at exit the instance may outlive them.
    """
    serving.clear()
    by_loop.clear()
