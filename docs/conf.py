"""How the site is built: ``tox -e docs``."""

import async_lru

project = "async_lru"
author = "the async_lru authors"
copyright = "2026, the async_lru authors"  # noqa: A001
version = release = async_lru.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest"]
html_theme = "furo"
html_title = f"async_lru {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
doctest_global_setup = "import asyncio; from async_lru import alru_cache"
nitpicky = True
