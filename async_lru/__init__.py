"""``functools.lru_cache`` for asyncio."""

from ._decorator import alru_cache
from ._loops import AlruCacheLoopResetWarning, _CacheParameters
from ._wrapper import (
    _LRUCacheWrapper,
    _LRUCacheWrapperInstanceMethod,
    _R,
)

__version__ = "3.0.0"

__all__ = (
    "AlruCacheLoopResetWarning",
    "_CacheParameters",
    "_LRUCacheWrapper",
    "_LRUCacheWrapperInstanceMethod",
    "_R",
    "alru_cache",
)
