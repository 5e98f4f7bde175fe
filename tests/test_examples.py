"""The examples run, and do what they say."""

import asyncio
import doctest
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess
import sys
from types import ModuleType
from typing import Any, List

import aiohttp
import pytest

from async_lru import _decorator, _wrapper, alru_cache

from .helpers import LIMIT, run_python

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("name", ["get_pep", "crawler", "access_token", "client"])
def test_script(name: str) -> None:
    result = run_python(str(EXAMPLES / f"{name}.py"))
    assert (result.returncode, result.stderr) == (0, "")
    if name == "get_pep":
        assert "CacheInfo(hits=3, misses=8, maxsize=32, currsize=8)\n" in result.stdout


@pytest.mark.parametrize("module", [_decorator, _wrapper])
def test_docstrings(module: ModuleType) -> None:
    names = {"asyncio": asyncio, "alru_cache": alru_cache}
    failed, run = doctest.testmod(module, globs=names, optionflags=doctest.ELLIPSIS)
    assert run
    assert not failed


def test_suite_with_caches() -> None:
    result = run_python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_with_caches.py")
    )
    assert result.returncode == 0
    assert re.search(r"\b3 passed\b", result.stdout)


@pytest.mark.skipif(
    not (shutil.which("redis-server") and importlib.util.find_spec("redis")),
    reason="there is no redis server or client",
)
def test_behind_redis(tmp_path: pathlib.Path) -> None:
    options = {"port": "0", "unixsocket": "redis.sock", "save": "", "dir": str(tmp_path)}
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    server = subprocess.Popen(
        ["redis-server", *arguments], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with server:
        try:
            assert server.stdout is not None
            assert any("ready to accept connections" in line for line in server.stdout)
            command = str(EXAMPLES / "behind_redis.py"), f"unix://{tmp_path}/redis.sock"
            assert run_python(*command).stdout.splitlines() == [
                "100 callers: {'Ada'}, 1 queries",
                "renamed: Ada Lovelace, 2 queries",
            ]
            assert run_python(*command).stdout == "100 callers: {'Ada Lovelace'}, 0 queries\n"
        finally:
            server.terminate()


async def test_service_under_load() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--port", "0", "--app-dir", str(EXAMPLES)),
        "service:app",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    log: List[str] = []
    while not (found := re.search(r"running on (http://\S+)", "".join(log))):
        log.append((await asyncio.wait_for(process.stderr.readline(), LIMIT)).decode())

    async with aiohttp.ClientSession(found.group(1)) as session:

        async def get(path: str) -> Any:
            async with session.get(path) as response:
                return json.loads(await response.text())

        answers = await asyncio.gather(*[get(f"/products/{n % 10}") for n in range(200)])
        assert answers == [{"number": n % 10, "name": f"Product {n % 10}"} for n in range(200)]
        assert await get("/products/1000") == {"error": "no such product"}
        statistics = await get("/statistics")
        assert statistics == {"hits": 190, "misses": 11, "maxsize": 1000, "currsize": 10}
        async with session.put("/products/1") as response:
            assert json.loads(await response.text()) == {"was_cached": True}

        last = asyncio.ensure_future(get("/products/50"))
        while (await get("/statistics"))["misses"] < 12:
            pass  # the request is yet to arrive
        process.terminate()
        assert await last == {"number": 50, "name": "Product 50"}
    await asyncio.wait_for(process.wait(), LIMIT)
    log.append((await process.stderr.read()).decode())
    assert "Traceback" not in "".join(log)
