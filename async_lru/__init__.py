"""``functools.lru_cache`` for asyncio."""

from ._decorator import alru_cache
from ._loops import AlruCacheLoopResetWarning
from ._wrapper import (
    _CacheParameters,
    _LRUCacheWrapper,
    _LRUCacheWrapperInstanceMethod,
)

__version__ = "3.0.0"

__all__ = (
    "AlruCacheLoopResetWarning",
    "_CacheParameters",
    "_LRUCacheWrapper",
    "_LRUCacheWrapperInstanceMethod",
    "alru_cache",
)
