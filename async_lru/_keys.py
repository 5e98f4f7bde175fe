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


def is_instance_of_method(name: str, first: object) -> bool:
    """Whether the class of an argument defines a function of this qualified name."""
    return name.rpartition(".")[0] in [cls.__qualname__ for cls in type(first).__mro__]


def why_unhashable(name: str, key: Any, *, keyed: bool) -> str:
    """Explain why a key cannot be looked up, and what helps."""
    if keyed:
        return (
            f"The key= function of {name} returned a value that is not hashable."
            " It must return a hashable value, such as a tuple of strings and numbers."
        )
    parts: List[Any] = [part for part in key if not _is_hashable(part)]
    kind = type(parts[0]).__qualname__ if parts else "one of them"
    if parts and parts[0] is key[0] and is_instance_of_method(name, parts[0]):
        return (
            f"{name} is cached by its arguments, the instance included, and {kind} is not"
            " hashable. Use per_instance=True to store the cache in the instance, or key= to"
            " compute a hashable key."
        )
    return (
        f"{name} is cached by its arguments, and {kind} is not hashable."
        " Pass a hashable value, or use key= to compute a hashable key."
    )


def _is_hashable(part: Any) -> bool:
    try:
        hash(part)
    except TypeError:
        return False
    return True


def custom_key(function: Callable[..., Hashable]) -> MakeKey:
    def make_key(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Hashable:
        return function(*args, **kwargs)

    make_key.__dict__["key"] = function  # for pickling
    return make_key
