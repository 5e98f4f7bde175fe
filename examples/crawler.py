"""Crawl a site whose pages link to one another, and fetch each page once.

    python examples/crawler.py

The site runs on this machine. The exit status is 0 if each page was requested once.
"""

import asyncio
import re
import sys
from collections import Counter
from typing import Set

from aiohttp import ClientSession, web

from async_lru import alru_cache


class Site:
    """It keeps the session, so that the session is not part of the key."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    @alru_cache(maxsize=None, ttl=300, per_instance=True)
    async def fetch(self, path: str) -> str:
        async with self.session.get(path) as response:
            response.raise_for_status()
            return await response.text()

    async def crawl(self, path: str, depth: int, seen: Set[str]) -> None:
        """Follow every link up to a depth. Concurrent visits to a page share one request."""
        seen.add(path)
        page = await self.fetch(path)
        if depth:
            links = re.findall(r'href="([^"]+)"', page)
            await asyncio.gather(*[self.crawl(link, depth - 1, seen) for link in links])


async def main() -> int:
    requests: "Counter[str]" = Counter()

    async def page(request: web.Request) -> web.Response:
        requests[request.path] += 1
        await asyncio.sleep(0.01)
        number = int(request.match_info["number"])
        links = [f'<a href="/{(number * k + 1) % 50}">' for k in (2, 3, 5)]
        return web.Response(text="\n".join(links), content_type="text/html")

    app = web.Application()
    app.router.add_get(r"/{number:\d+}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]

    seen: Set[str] = set()
    async with ClientSession(f"http://{host}:{port}") as session:
        pages = Site(session)
        await pages.crawl("/0", 6, seen)
    print(f"{len(seen)} pages, {sum(requests.values())} requests, {pages.fetch.cache_info()}")
    await pages.fetch.cache_close()
    await runner.cleanup()
    return int(set(requests.values()) != {1} or len(requests) != len(seen))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
