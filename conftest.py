"""Run the Python blocks of README.rst as tests."""

import asyncio
import sys
from typing import Any, Dict

import pytest
from sybil import Sybil
from sybil.parsers.rest import PythonCodeBlockParser

import async_lru


def imports(namespace: Dict[str, Any]) -> None:
    """What the first example imports; the others go on from there."""
    namespace.update(asyncio=asyncio, alru_cache=async_lru.alru_cache)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["README.rst"], setup=imports
).pytest()


def pytest_configure(config: pytest.Config) -> None:
    if sys.version_info < (3, 12):
        # pytest-asyncio asks for the current loop, which makes one there that nobody closes.
        config.addinivalue_line("filterwarnings", "ignore:unclosed:ResourceWarning")
