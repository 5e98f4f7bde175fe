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


@alru_cache(maxsize=None, ttl=300)
async def fetch(session: ClientSession, path: str) -> str:
    async with session.get(path) as response:
        response.raise_for_status()
        return await response.text()


async def crawl(session: ClientSession, path: str, depth: int, seen: Set[str]) -> None:
    """Follow every link down to a depth. All at once: those who meet at a page share it."""
    seen.add(path)
    page = await fetch(session, path)
    if depth:
        links = re.findall(r'href="([^"]+)"', page)
        await asyncio.gather(*[crawl(session, link, depth - 1, seen) for link in links])


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
        await crawl(session, "/0", 6, seen)
    print(f"{len(seen)} pages, {sum(requests.values())} requests, {fetch.cache_info()}")
    await fetch.cache_close()
    await runner.cleanup()
    return int(set(requests.values()) != {1} or len(requests) != len(seen))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
