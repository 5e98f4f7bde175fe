"""Run the Python blocks of README.rst and docs/ as tests."""

import asyncio
import contextlib
import doctest
import importlib.util
import io
import re
import sys
import textwrap
from typing import Any, Dict, Iterator, Optional

import pytest
from sybil import Document, Example, Region, Sybil

import async_lru


def imports(namespace: Dict[str, Any]) -> None:
    """Give every page the imports of README.rst's first example."""
    namespace.update(asyncio=asyncio, alru_cache=async_lru.alru_cache)


# A program, and the literal block right after it, which shows what the program prints. The
# condition before it is part of the same example, because examples run in random order.
PROGRAM = re.compile(
    r"(?:^\.\. skip: next if\((?P<skipif>.+), reason=\"(?P<reason>.+)\"\)\n\n)?"
    r"^\.\. code-block:: python\n\n(?P<program>(?:(?: .*)?\n)+)"
    r"(?:\.\. code-block:: text\n\n(?P<output>(?:(?: .*)?\n)+))?",
    re.MULTILINE,
)


def programs(document: Document) -> Iterator[Region]:
    for match in PROGRAM.finditer(document.text + "\n"):
        yield Region(match.start(), match.end() - 1, match, prints)


def prints(example: Example) -> Optional[str]:
    """Run a program, and compare its output with the page."""
    skipif, reason, program, output = (
        textwrap.dedent(text or "") for text in example.parsed.groups()
    )
    if skipif and eval(skipif, {"sys": sys, "find_spec": importlib.util.find_spec}):  # noqa: S307
        pytest.skip(reason)
    before = example.document.text.count("\n", 0, example.parsed.start("program"))
    lines = "\n" * before  # so that a traceback names the right one
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(lines + program, example.path, "exec"), example.namespace)  # noqa: S102
    if printed.getvalue().strip() == output.strip():
        return None
    return f"It printed:\n\n{printed.getvalue()}\nand not:\n\n{output}"


def doctests(document: Document) -> Iterator[Region]:
    """All of a page in one, as they go on from one another, and tests run in random order."""
    if ">>> " in document.text:
        yield Region(0, len(document.text), document.text, answers)


def answers(example: Example) -> Optional[str]:
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL  # of exceptions, the type only
    test = doctest.DocTestParser().get_doctest(
        example.parsed, {}, example.path, example.path, example.line - 1
    )
    report = io.StringIO()
    failed, _ = doctest.DocTestRunner(optionflags=flags).run(test, out=report.write)
    return report.getvalue() if failed else None


FRAMEWORKS = "aiohttp", "fastapi", "httpx", "pydantic", "starlette"
absent = [name for name in FRAMEWORKS if importlib.util.find_spec(name) is None]

pytest_collect_file = Sybil(
    parsers=[programs, doctests],
    patterns=["README.rst", "docs/*.rst"],
    excludes=["docs/frameworks.rst"] if absent else [],
    setup=imports,
).pytest()


def pytest_configure(config: pytest.Config) -> None:
    # What the test client of Starlette and FastAPI says of the client that it is built on.
    config.addinivalue_line("filterwarnings", "ignore:Using .httpx. with")
    if sys.version_info < (3, 12):
        # pytest-asyncio asks for the current loop, which makes one there that nobody closes.
        config.addinivalue_line("filterwarnings", "ignore:unclosed:ResourceWarning")
