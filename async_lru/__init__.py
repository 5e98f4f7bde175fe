"""``functools.lru_cache`` for asyncio."""

from ._caches import AlruCacheLoopResetWarning, _CacheParameters
from ._decorator import alru_cache
from ._wrapper import _R, _LRUCacheWrapper, _LRUCacheWrapperInstanceMethod

__version__ = "3.1.0"

__all__ = (
    "_R",
    "AlruCacheLoopResetWarning",
    "_CacheParameters",
    "_LRUCacheWrapper",
    "_LRUCacheWrapperInstanceMethod",
    "alru_cache",
)
