"""What lets an object pass for the coroutine function that it stands for."""

import asyncio
import inspect
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict


class CoroutineFunction:
    """Instances are coroutine functions to asyncio (below 3.14) and to inspect (from 3.12)."""

    __slots__ = ()
    _is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)
    if TYPE_CHECKING:  # each instance has those of its function
        __name__: str
        __qualname__: str


_mark: Callable[[Any], object] = getattr(inspect, "markcoroutinefunction", repr)  # from 3.12
_mark(CoroutineFunction)


is_coroutine_function: Callable[[Any], bool] = (
    inspect.iscoroutinefunction if sys.version_info >= (3, 14) else asyncio.iscoroutinefunction
)


class Annotations(Dict[str, Any]):
    """A class's own annotations, none; an instance has those of its function."""

    def __get__(self, instance: Any, owner: type) -> Dict[str, Any]:
        if instance is None:
            return self
        annotations: Dict[str, Any] = instance.__wrapped__.__annotations__
        return annotations


class Text(str):  # noqa: SLOT000  # it is given its name
    """A class's own ``__doc__`` or ``__module__``; an instance has that of its function."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance.__func__, self.name)
