"""The caches that a user could pick: each a decorator for the same coroutine function."""

import asyncio
import functools
import importlib
import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys
from datetime import timedelta
from typing import Any, Callable, Dict, List, NamedTuple, Optional

ROOT = pathlib.Path(__file__).parent.parent
SCRATCH = ROOT / ".venv" / "peers" / str(sys.implementation.cache_tag)
OURS = "async_lru"
NAMESAKE = "async-lru 2.4.0"


class Peer(NamedTuple):
    """What to install and to import, and how to decorate with it (``ttl`` in seconds)."""

    package: str
    module: str
    bounded: Callable[[Any, int], Any]
    expiring: Optional[Callable[[Any, int, int], Any]] = None

    def version(self) -> str:
        """As installed in the scratch folder."""
        folder = SCRATCH / self.package
        names = {self.package.partition("=")[0], self.module.partition(".")[0]}
        found = importlib.metadata.distributions(path=[str(folder)])
        (version,) = {d.version for d in found if d.metadata["Name"] in names}
        return version


def alru_cache(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    return module.alru_cache(maxsize=size, ttl=ttl)


def anyio(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    return module.lru_cache(maxsize=size, ttl=ttl)


def cachetools(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    caches: Any = importlib.import_module("cachetools")
    return module.cached(caches.TTLCache(size, ttl) if ttl else caches.LRUCache(size))


def acachetools(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    caches: Any = importlib.import_module("cachetools")
    return module.cached(cache=caches.TTLCache(size, ttl) if ttl else caches.LRUCache(size))


def moka(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    return module.cached(maxsize=size, ttl=ttl, policy="lru", wait_concurrent=True)


def cachebox(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    return module.cached(module.TTLCache(size, ttl) if ttl else module.LRUCache(size))


def aiocache(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    return module.cached(ttl=ttl)  # its memory cache has no bound


def theine(module: Any, size: int, ttl: Optional[int] = None) -> Any:
    def decorate(function: Any) -> Any:
        memoize = module.Memoize(size, ttl and timedelta(seconds=ttl))(function)
        memoize.key(str)  # it wants a key function, which returns a string
        return memoize

    return decorate


PEERS = {
    OURS: Peer("async_lru", "async_lru", alru_cache, alru_cache),
    NAMESAKE: Peer("async-lru==2.4.0", "async_lru", alru_cache, alru_cache),
    "faster-async-lru": Peer("faster-async-lru", "faster_async_lru", alru_cache, alru_cache),
    "asyncstdlib": Peer(
        "asyncstdlib", "asyncstdlib", lambda module, size: module.lru_cache(maxsize=size)
    ),
    "anyio.functools": Peer("anyio", "anyio.functools", anyio, anyio),
    "cachetools-async": Peer("cachetools-async", "cachetools_async", cachetools, cachetools),
    "acachetools": Peer("acachetools", "acachetools", acachetools, acachetools),
    "cachebox": Peer("cachebox", "cachebox", cachebox, cachebox),
    "aiocache": Peer("aiocache", "aiocache", aiocache, aiocache),
    "moka-py": Peer("moka-py", "moka_py", moka, moka),
    "theine": Peer("theine", "theine", theine, theine),
}


def load(peer: Peer) -> Any:
    """Install a peer and import it, the namesake under another name."""
    folder = SCRATCH / peer.package
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder)]
        subprocess.run([*command, peer.package], check=True, capture_output=True)
    sys.path.append(str(folder))
    if peer.module != OURS:
        return importlib.import_module(peer.module)
    source = folder / peer.module / "__init__.py"
    spec = importlib.util.spec_from_file_location("peer_async_lru", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_all() -> Dict[str, Any]:
    """The modules by name; a word about those that cannot be had."""
    modules: Dict[str, Any] = {}
    for name, peer in PEERS.items():
        if name != OURS:
            try:
                module = load(peer)
                # For an old Python there may be an old version, with another interface.
                asyncio.run(call(peer.bounded(module, 128)(identity)))
            except subprocess.CalledProcessError:
                print(f"skipped {name}: pip finds no version for this Python")
            except (AttributeError, ImportError, TypeError) as error:
                print(f"skipped {name}: {error}")
            else:
                modules[name] = module
    return modules


async def call(function: Any) -> None:
    await function(1)


def rst_table(rows: List[List[str]]) -> str:
    """A table for docs/benchmarks.rst; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = "  ".join("=" * width for width in widths)
    head, *body = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]
    return "\n".join([rule, head, rule, *body, rule])


async def identity(x: Any) -> Any:
    return x


@functools.lru_cache(maxsize=128)
def plain(x: Any) -> Any:
    return x
