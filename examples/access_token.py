"""One access token for all: fetched once however many ask, and again when it has run out.

python examples/access_token.py
"""

import asyncio
import itertools
import sys

from async_lru import alru_cache

LIFETIME = 0.2  # seconds; an hour, more likely
MARGIN = 0.05  # given up so much earlier, for what is under way

issued = itertools.count(1)


@alru_cache(maxsize=1, ttl=LIFETIME - MARGIN)
async def access_token() -> str:
    await asyncio.sleep(0.01)  # ask the authorization server
    return f"token {next(issued)}"


async def request(number: int) -> str:
    """Some call of an API, with the token that is good now."""
    return f"request {number} with {await access_token()}"


async def main() -> int:
    first = await asyncio.gather(*[request(n) for n in range(100)])
    access_token.cache_invalidate()  # the API said 401: it has been revoked
    second = await asyncio.gather(*[request(n) for n in range(100)])
    await asyncio.sleep(LIFETIME)
    third = await request(0)
    await access_token.cache_close()
    print(first[-1], second[-1], third, sep="\n")
    used = [sorted({line.split(" with ")[1] for line in part}) for part in (first, second)]
    return int([*used, third[-7:]] != [["token 1"], ["token 2"], "token 3"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
