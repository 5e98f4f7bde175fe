"""What a cache holds under a key while something is still to happen there."""

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, Hashable, Optional

if TYPE_CHECKING:
    import asyncio

# By future, the task of a caller that waits. None: an entry waits for its refresh.
Waiters = Dict[Optional["asyncio.Future[Any]"], Optional["asyncio.Task[Any]"]]

# A deadline that is past.
EXPIRED = -math.inf


class InFlight:
    """What a cache knows of a call in flight."""

    __slots__ = ()

    # The cache that it belongs to, weakly: what is cleared is not kept by a call that takes
    # its time.
    cache: Callable[[], Any]
    entry: "Entry"
    # Those who wait, or are yet to receive its failure; a call in flight that has lost them
    # all is abandoned.
    waiters: Waiters

    if TYPE_CHECKING:

        def cancel(self) -> None: ...


class Entry:
    """A key's call in flight, or its result if that is to expire or to be refreshed.

    Any other result is held bare. An entry is settled by another that takes its place, so
    that the order of those that are to expire never changes.
    """

    __slots__ = ("call", "deadline", "key", "until", "value")

    def __init__(
        self,
        key: Hashable,
        value: Any = None,
        deadline: float = EXPIRED,
        until: float = EXPIRED,
    ) -> None:
        self.key = key
        self.value = value
        # By time.monotonic(): served without question before this moment,
        self.deadline = deadline
        # and never from this one on. Between the two, the result is due for a refresh.
        self.until = until
        # The call in flight, which may be a refresh.
        self.call: Any = None

    def __lt__(self, other: "Entry") -> bool:
        return self.until < other.until


# What a look-up finds where there is nothing.
MISSING = Entry(None)
