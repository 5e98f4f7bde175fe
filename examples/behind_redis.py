"""Processes share results through redis, and each process caches them for some seconds.

python examples/behind_redis.py redis://127.0.0.1:6379

Run it twice: the second process gets the result of the first one without a query.
"""

import asyncio
import json
import sys
from typing import Any, Dict, List

from redis.asyncio import Redis

from async_lru import alru_cache


class Users:
    """It keeps the redis client, so that the client is not part of the key."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.database: Dict[int, str] = {7: "Ada"}
        self.queries: List[int] = []

    # After a change, other processes can return the old name for up to 5 seconds.
    @alru_cache(ttl=5, per_instance=True)
    async def name(self, number: int) -> str:
        found = await self.redis.get(f"user:{number}")
        if found is not None:
            return str(json.loads(found))
        self.queries.append(number)
        await asyncio.sleep(0.01)  # the database
        name = self.database[number]
        await self.redis.set(f"user:{number}", json.dumps(name), ex=300)
        return name

    async def rename(self, number: int, name: str) -> None:
        self.database[number] = name
        await self.redis.delete(f"user:{number}")
        self.name.cache_invalidate(number)


async def main(url: str) -> None:
    async with Redis.from_url(url) as redis:  # pyright: ignore[reportUnknownMemberType]
        users = Users(redis)
        names = await asyncio.gather(*[users.name(7) for _ in range(100)])
        print(f"100 callers: {set(names)}, {len(users.queries)} queries")
        if users.queries:
            await users.rename(7, "Ada Lovelace")
            print(f"renamed: {await users.name(7)}, {len(users.queries)} queries")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
