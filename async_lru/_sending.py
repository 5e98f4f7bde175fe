"""Pickling of decorated functions: by reference where a name finds them, else by value."""

import copy
import functools
import sys
import types
from typing import Any, Dict, Tuple, Union, cast
from weakref import WeakKeyDictionary, ref

from ._keys import MakeKey, custom_key, typed_key, untyped_key

# The carriers made in this process, and weakly the decorated functions that they stand for.
_owners: "WeakKeyDictionary[Any, ref[Any]]" = WeakKeyDictionary()

# Earlier protocols write the parent of a nested name first, which is the function itself.
_NESTED_NAMES = 4


def _carrier() -> None:
    """Do nothing: a carrier is not called."""


def carrier(wrapper: Any, name: str) -> Any:
    """Return a function that stands for a decorated function of ``__main__``, or its state.

    ``pickle`` writes its qualified name, ``double.__sent__``, by which the receiver finds the
    decorated function. ``cloudpickle`` and ``dill`` write functions of ``__main__`` by value,
    together with their attributes, which hold the state.
    """
    made = types.FunctionType(_carrier.__code__, {})
    made.__module__ = wrapper.__module__
    made.__qualname__ = f"{wrapper.__qualname__}.{name}"
    made.__name__ = name
    made = wrapper.__carriers__.setdefault(name, made)
    _owners[made] = ref(wrapper)
    return made


def reduce(wrapper: Any, protocol: int) -> Union[str, Tuple[Any, ...]]:
    """Return what ``__reduce_ex__`` is to return."""
    found = _is_found(wrapper)
    if found and (wrapper.__module__ != "__main__" or protocol < _NESTED_NAMES):
        qualname: str = wrapper.__qualname__
        return qualname
    state: Any = _state(wrapper)
    stands: Any = None
    if found:
        stands, holds = wrapper.__sent__, wrapper.__sent_state__
        holds.state = state
        state = holds
    # Made without its state, so that a recursive function can refer to it.
    return make, (type(wrapper), stands), state


def make(kind: Any, stands: Any) -> Any:
    """Return the decorated function that a carrier stands for, or one without its state."""
    owner = None if stands is None else _owners.get(stands)
    return kind.__new__(kind) if owner is None else owner()


def set_state(wrapper: Any, state: Any) -> None:
    if isinstance(state, types.FunctionType):
        if state in _owners:
            return
        state = state.__dict__["state"]
    function, binding, options, key, typed, attributes = state
    if type(function) is tuple:
        function = types.MethodType(*cast("Any", function))
    make_key: MakeKey = typed_key if typed else untyped_key
    if key is not None:
        make_key = custom_key(key)
    wrapper.__init__(function, types.SimpleNamespace(), binding, options, make_key, typed)
    wrapper.__dict__.clear()
    wrapper.__dict__.update(attributes, __wrapped__=function)


def deep_copy(wrapper: Any, memo: Dict[int, Any]) -> Any:
    """Copy a decorated bound method together with its instance; nothing else is copied."""
    function = innermost = wrapper.__wrapped__
    while isinstance(innermost, functools.partial):
        innermost = innermost.func
    if not hasattr(innermost, "__self__"):
        return wrapper
    copied = memo[id(wrapper)] = make(type(wrapper), None)
    set_state(copied, (copy.deepcopy(function, memo), *_state(wrapper)[1:]))
    return copied


def _state(wrapper: Any) -> Tuple[Any, ...]:
    function = wrapper.__wrapped__
    if type(function) is types.MethodType:
        # A bound method pickles as an attribute of its instance, which may be this wrapper.
        function = function.__func__, function.__self__
    attributes = {
        name: value for name, value in wrapper.__dict__.items() if name != "__wrapped__"
    }
    decorated = wrapper.__decorated__
    key = getattr(wrapper.__make_key__, "key", None)
    options, typed = decorated.options, decorated.typed
    return function, wrapper.__binding__, options, key, typed, attributes


def _is_found(wrapper: Any) -> bool:
    """Whether its qualified name leads to it."""
    attributes = wrapper.__dict__
    found: Any = sys.modules.get(attributes.get("__module__", ""))
    for name in attributes.get("__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is wrapper
