"""Crawl a site that links to the same pages again and again, fetching each once in a while.

    python examples/crawler.py

The site is one of its own, on this machine. The exit status tells whether it was asked for
each page once.
"""

import asyncio
import re
import sys
from collections import Counter
from typing import Set

from aiohttp import ClientSession, web

from async_lru import alru_cache


class Site:
    """Keeps the session, so that it is not part of the key."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    @alru_cache(maxsize=None, ttl=300, per_instance=True)
    async def fetch(self, path: str) -> str:
        async with self.session.get(path) as response:
            response.raise_for_status()
            return await response.text()

    async def crawl(self, path: str, depth: int, seen: Set[str]) -> None:
        """Follow every link down to a depth; concurrent visits of a page share one request."""
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
