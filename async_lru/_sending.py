"""Pickling of decorated functions: by reference where a name finds them, else by value."""

import copy
import sys
import types
from typing import Any, Dict, Tuple, Union, cast
from weakref import WeakKeyDictionary, ref

from ._options import unwrap_partial

# The carriers made in this process, and weak references to the functions they stand for.
_owners: "WeakKeyDictionary[Any, ref[Any]]" = WeakKeyDictionary()

# The properties of a decorated function by which pickle finds its carriers.
SENT, SENT_STATE = "_LRUCacheWrapper__sent", "_LRUCacheWrapper__sent_state"

# The first protocol that writes a nested name as such. Earlier ones write its parent first,
# which is the decorated function itself.
_NESTED_NAMES = 4


def _carrier() -> None:
    """Do nothing: a carrier is not called."""


def carrier(wrapper: Any, carriers: Dict[str, Any], name: str) -> Any:
    """Return a function that stands for a decorated function of ``__main__``, or its state.

    ``pickle`` writes its qualified name, an attribute of the decorated function, by which the
    receiver finds it again. ``cloudpickle`` and ``dill`` write functions of ``__main__`` by
    value, together with their attributes, which hold the state.
    """
    made = types.FunctionType(_carrier.__code__, {})
    made.__module__ = wrapper.__module__
    made.__qualname__ = f"{wrapper.__qualname__}.{name}"
    made.__name__ = name
    made = carriers.setdefault(name, made)
    _owners[made] = ref(wrapper)
    return made


def reduce(
    wrapper: Any, recipe: Tuple[Any, ...], carriers: Dict[str, Any], protocol: int
) -> Union[str, Tuple[Any, ...]]:
    """Return the value for ``__reduce_ex__``."""
    found = _is_found(wrapper)
    if found and (wrapper.__module__ != "__main__" or protocol < _NESTED_NAMES):
        return cast("str", wrapper.__qualname__)
    function, *others = recipe
    if type(function) is types.MethodType:
        # A bound method pickles as an attribute of its instance, which may be this wrapper.
        function = function.__func__, function.__self__
    # From 3.14 the annotations are a function, which may refer to more than can be pickled.
    left_out = "__wrapped__", "__annotate__"
    attributes = {k: v for k, v in wrapper.__dict__.items() if k not in left_out}
    state: Any = (function, attributes, *others)
    stand_in: Any = None
    if found:
        stand_in = carrier(wrapper, carriers, SENT)
        state_carrier = carrier(wrapper, carriers, SENT_STATE)
        state_carrier.state = state
        state = state_carrier
    # Made without its state, so that a recursive function can refer to it.
    return make, (type(wrapper), stand_in), state


def make(kind: Any, stand_in: Any) -> Any:
    """Return the decorated function that a carrier stands for, or one without its state."""
    owner = None if stand_in is None else _owners.get(stand_in)
    return kind.__new__(kind) if owner is None else owner()


def receive(wrapper: Any, state: Any) -> None:
    """Set the state of a decorated function that ``make`` has returned."""
    if isinstance(state, types.FunctionType):
        if state in _owners:
            return  # sent by reference: it has its state
        state = state.__dict__["state"]
    function, attributes, *others = state
    if type(function) is tuple:
        function = types.MethodType(*cast("Any", function))
    wrapper.__init__(function, types.SimpleNamespace(**attributes), *others)


def deep_copy(wrapper: Any, recipe: Tuple[Any, ...], memo: Dict[int, Any]) -> Any:
    """Copy a decorated bound method together with its instance; nothing else is copied."""
    function, *others = recipe
    if not hasattr(unwrap_partial(function), "__self__"):
        return wrapper
    copied = memo[id(wrapper)] = make(type(wrapper), None)
    copied.__init__(copy.deepcopy(function, memo), wrapper, *others)
    return copied


def _is_found(wrapper: Any) -> bool:
    """Whether its qualified name leads to it."""
    attributes = wrapper.__dict__
    found: Any = sys.modules.get(attributes.get("__module__", ""))
    for name in attributes.get("__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is wrapper
