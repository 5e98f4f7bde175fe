"""One access token for all requests, fetched again shortly before it expires.

python examples/access_token.py
"""

import asyncio
import itertools
import sys
from typing import NamedTuple

from async_lru import alru_cache

MARGIN = 0.05  # a token is replaced this many seconds before it expires

issued = itertools.count(1)


class Token(NamedTuple):
    text: str
    expires_in: float  # seconds after it was issued


@alru_cache(maxsize=1, ttl=lambda token: token.expires_in - MARGIN)
async def access_token() -> Token:
    await asyncio.sleep(0.01)  # ask the authorization server
    return Token(f"token {next(issued)}", expires_in=0.2)  # in practice, an hour


async def request(number: int) -> str:
    """Send a request with a valid token."""
    token = await access_token()
    return f"request {number} with {token.text}"


async def main() -> int:
    first = await asyncio.gather(*[request(n) for n in range(100)])
    access_token.cache_invalidate()  # the API said 401: it has been revoked
    second = await asyncio.gather(*[request(n) for n in range(100)])
    await asyncio.sleep(0.2)
    third = await request(0)
    print(first[-1], second[-1], third, sep="\n")
    used = [sorted({line.split(" with ")[1] for line in part}) for part in (first, second)]
    return int([*used, third[-7:]] != [["token 1"], ["token 2"], "token 3"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
