"""What a cache holds under a key while something is still to happen there."""

import asyncio
import math
from typing import Any, Dict, Hashable, Optional, Protocol

# A deadline that is past.
EXPIRED = -math.inf


class InFlight(Protocol):
    """What an entry knows of its call in flight."""

    # A future for each caller that waits. None stands for the entry itself, which waits for a
    # refresh. A call that nobody waits for is abandoned.
    waiters: Dict[Optional["asyncio.Future[None]"], None]


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
        self.call: Optional[InFlight] = None

    def __lt__(self, other: "Entry") -> bool:
        return self.until < other.until


# What a look-up finds where there is nothing.
MISSING = Entry(None)
