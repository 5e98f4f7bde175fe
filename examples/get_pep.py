"""Fetch PEP pages through a cache.

    python examples/get_pep.py           from a server on this machine
    python examples/get_pep.py --live    from peps.python.org

The exit status is 0 if the server saw as many requests as the cache counted misses.
"""

import argparse
import asyncio
import sys
import time
from typing import Optional

from aiohttp import ClientSession, web

from async_lru import alru_cache

PEPS = 8, 290, 308, 320, 8, 218, 320, 279, 289, 320, 9991


def by_number(session: ClientSession, number: int) -> int:
    """Return the key: the page does not depend on the session."""
    return number


@alru_cache(maxsize=32, key=by_number)
async def get_pep(session: ClientSession, number: int) -> Optional[bytes]:
    """Return the page of a PEP, or None if there is no such PEP."""
    async with session.get(f"/pep-{number:04}/") as response:
        if response.status == 404:
            return None
        response.raise_for_status()
        return await response.read()


class Server:
    """Serve the pages, each after a delay, and count the requests."""

    def __init__(self) -> None:
        self.requests = 0
        app = web.Application()
        app.router.add_get(r"/pep-{number:\d+}/", self.page)
        self.runner = web.AppRunner(app)

    async def page(self, request: web.Request) -> web.Response:
        self.requests += 1
        await asyncio.sleep(0.05)
        number = int(request.match_info["number"])
        if number == 9991:
            raise web.HTTPNotFound
        return web.Response(text=f"PEP {number}\n" * (100 + number))

    async def start(self) -> str:
        """Listen on a free port, and return the address."""
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        host, port = self.runner.addresses[0]
        return f"http://{host}:{port}"


async def fetch_one_by_one(session: ClientSession) -> None:
    for number in PEPS:
        hits = get_pep.cache_info().hits
        start = time.perf_counter()
        page = await get_pep(session, number)
        milliseconds = (time.perf_counter() - start) * 1000
        size = "not found" if page is None else f"{len(page):,} bytes"
        how = "hit" if get_pep.cache_info().hits > hits else "miss"
        print(f"PEP {number:4} {size:>15} {milliseconds:9.3f} ms  {how}")
    print(get_pep.cache_info())


async def show_the_rest(session: ClientSession) -> int:
    """Show sharing, invalidation and expiry, and return the number of misses."""
    get_pep.cache_clear()
    await asyncio.gather(*[get_pep(session, 8) for _ in range(100)])
    print("100 callers at once:", get_pep.cache_info())
    get_pep.cache_invalidate(session, 8)
    await get_pep(session, 8)
    print("after invalidation: ", get_pep.cache_info())

    get_fresh_pep = alru_cache(ttl=0.1, key=by_number)(get_pep.__wrapped__)
    await get_fresh_pep(session, 8)
    print("with a ttl of 0.1 s:", get_fresh_pep.cache_info())
    await asyncio.sleep(0.2)
    print("0.2 s later:        ", get_fresh_pep.cache_info())
    return get_pep.cache_info().misses + get_fresh_pep.cache_info().misses


async def main(live: bool) -> int:
    server = Server()
    site = "https://peps.python.org" if live else await server.start()
    async with ClientSession(site) as session:
        await fetch_one_by_one(session)
        misses = [get_pep.cache_info().misses]
        requests = [server.requests]
        misses.append(await show_the_rest(session))
        requests.append(server.requests - requests[0])
        await get_pep.cache_close()
        print("after closing:      ", get_pep.cache_parameters())
    await server.runner.cleanup()
    if live:
        return 0
    print(f"misses in the cache: {misses}, requests at the server: {requests}")
    return int(misses != requests)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch PEP pages through a cache.")
    parser.add_argument("--live", action="store_true", help="from the public site")
    sys.exit(asyncio.run(main(parser.parse_args().live)))
