"""An API client with its own cache, which is freed together with the client.

python examples/client.py
"""

import asyncio
import gc
import sys
import weakref
from dataclasses import dataclass
from typing import List, Optional

from async_lru import alru_cache


@dataclass(frozen=True)
class User:
    number: int
    name: str


@dataclass
class Client:
    """This dataclass is not hashable, and it does not have to be."""

    token: str
    requests: List[str]

    # Popular users are renewed after 10 seconds. Missing users are tried again after 5.
    @alru_cache(maxsize=100, ttl=lambda user: 60 if user else 5, refresh=10, per_instance=True)
    async def user(self, number: int) -> Optional[User]:
        self.requests.append(f"/users/{number}")
        await asyncio.sleep(0.01)  # the network
        return User(number, f"{self.token}'s user {number}") if number < 100 else None

    async def rename(self, number: int) -> None:
        self.requests.append(f"PUT /users/{number}")
        self.user.cache_invalidate(number)


async def main() -> int:
    ada, bob = Client("Ada", []), Client("Bob", [])
    users = await asyncio.gather(*[client.user(7) for client in (ada, bob) for _ in range(50)])
    print(*sorted({user.name for user in users if user}), sep="\n")
    await ada.user(404)
    await ada.user(404)
    await ada.rename(7)
    await ada.user(7)
    print(ada.requests, bob.requests)
    right = (ada.requests, bob.requests) == (
        ["/users/7", "/users/404", "PUT /users/7", "/users/7"],
        ["/users/7"],
    )
    print("Bob's:", bob.user.cache_info())
    print("all:  ", Client.user.cache_info())

    gone = weakref.ref(ada)
    del ada
    gc.collect()  # needed on PyPy only
    print("Ada's client is", "still here" if gone() else "gone")
    print("all:  ", Client.user.cache_info())
    return int(not right or gone() is not None or Client.user.cache_info().currsize != 1)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
