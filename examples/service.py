"""A web service that caches slow look-ups, and closes the cache at shutdown.

uvicorn --app-dir examples service:app
"""

import asyncio
import contextlib
from typing import AsyncGenerator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from async_lru import alru_cache


@alru_cache(maxsize=1000, ttl=60, jitter=10)
async def load_product(number: int) -> "dict[str, object]":
    """Query the database. Raise LookupError if there is no such product."""
    await asyncio.sleep(0.1)
    if number > 100:
        raise LookupError(number)
    return {"number": number, "name": f"Product {number}"}


async def show(request: Request) -> Response:
    try:
        product = await load_product(request.path_params["number"])
    except LookupError:
        return JSONResponse({"error": "no such product"}, status_code=404)
    return JSONResponse(product)


async def change(request: Request) -> Response:
    """Change a product, and invalidate the cached one."""
    known = load_product.cache_invalidate(request.path_params["number"])
    return JSONResponse({"was_cached": known})


async def statistics(request: Request) -> Response:
    return JSONResponse(load_product.cache_info()._asdict())


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
    yield
    await load_product.cache_close(wait=True)  # requests in flight get their responses


app = Starlette(
    routes=[
        Route("/products/{number:int}", show),
        Route("/products/{number:int}", change, methods=["PUT"]),
        Route("/statistics", statistics),
    ],
    lifespan=lifespan,
)
