"""How the site is built: ``make docs``."""

import async_lru

project = "async_lru"
author = "the async_lru authors"
copyright = "2026, the async_lru authors"  # noqa: A001
version = release = async_lru.__version__

extensions = ["sphinx.ext.doctest"]
doctest_global_setup = "import sys"
html_theme = "furo"
html_title = f"async_lru {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
nitpicky = True
nitpick_ignore = [("py:exc", "asyncio.CancelledError")]
