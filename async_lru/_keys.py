"""Call arguments to cache key.

A key is a flat tuple, hashed and compared in C, in the manner of ``functools._make_key``.
A call without keywords needs no function at all: its argument tuple is the key.
"""

from typing import Any, Callable, Dict, Hashable, List, Tuple

MakeKey = Callable[[Tuple[Any, ...], Dict[str, Any]], Hashable]

# Parts positional from keyword arguments: no argument of any call is this object.
KEYWORDS = object()


def untyped_key(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Hashable:
    if not kwargs:
        return args
    return (*args, KEYWORDS, *kwargs, *kwargs.values())


def typed_key(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Hashable:
    if not kwargs:
        types: List[type] = [type(x) for x in args]  # a list is fastest here
        return (*args, *types)
    values = kwargs.values()
    return (*args, KEYWORDS, *kwargs, *values, *map(type, args), *map(type, values))


def custom_key(function: Callable[..., Hashable]) -> MakeKey:
    def make_key(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Hashable:
        return function(*args, **kwargs)

    return make_key
