"""How the site is built: ``make docs``."""

import pathlib
import posixpath
from typing import Any

from docutils import nodes

import async_lru

project = "async_lru"
author = "the async_lru authors"
copyright = "2026, the async_lru authors"  # noqa: A001
version = release = async_lru.__version__

extensions = ["sphinx_copybutton", "sphinxcontrib.towncrier.ext"]

html_theme = "furo"
pygments_dark_style = "github-dark"
html_theme_options = {"navigation_with_keys": True}
html_title = f"async_lru {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["../examples"]  # the pages link to them
exclude_patterns = ["**/__pycache__"]
html_favicon = "static/favicon.svg"

# Copied are programs, not what they print.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# The changes since the last release, on the page of changes.
towncrier_draft_autoversion_mode = "draft"
towncrier_draft_include_empty = False
towncrier_draft_working_directory = pathlib.Path(__file__).parent.parent

nitpicky = True


def setup(app: Any) -> None:
    app.connect("doctree-read", link_to_pages)
    app.connect("doctree-read", inline_pictures)


def link_to_pages(app: Any, doctree: Any) -> None:
    """Let links between the sources, which a code host follows, lead to files of the site."""
    for link in doctree.findall(nodes.reference):
        path, hash_, anchor = link.get("refuri", "").partition("#")
        if ":" not in path and path.endswith((".py", ".rst")):
            name = posixpath.basename(path)
            page = f"{name[:-4].lower()}.html" if name.endswith(".rst") else name
            link["refuri"] = page + hash_ + anchor


def inline_pictures(app: Any, doctree: Any) -> None:
    """Put the pictures into the page itself, so that they have its colors, light or dark."""
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            text = pathlib.Path(app.srcdir, image["uri"]).read_text(encoding="utf-8")
            svg = text[text.index("<svg") :]
            image.replace_self(nodes.raw("", svg, format="html"))
