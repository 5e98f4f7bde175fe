"""Change the library in every small way that cosmic-ray knows, and see whether a test notices.

    make mutants [MODULES="_cache _options"]

It prints each change that no test notices, as a line to put into ``mutants.txt``, under its
reason, if nothing could notice: if the changed library is as good. What is there is not tried
again. One that was stopped at the time limit is told as such: what it shows is not known. A
change that does not compile counts for nothing, nor does one that asks for the order of what
has none. Each process works on a copy of the tree.
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from difflib import ndiff
from typing import Any, Iterator, List, Tuple

from cosmic_ray import plugins
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome

ROOT = pathlib.Path(__file__).parent.parent
KNOWN = ROOT / "tests" / "mutants.txt"
# The quick ones first. Those left out start processes, or only repeat the others for long.
LAST = ["test_threads.py", "test_model.py", "test_interference.py"]
LEFT_OUT = ["test_soak.py", "test_examples.py", *LAST]
FILES = sorted(path.name for path in (ROOT / "tests").glob("test_*.py"))
TESTS = (
    f"{sys.executable} -m pytest -x -q -p no:randomly --failed-first "
    "--timeout 40 --timeout-method thread "  # which ends the process, whatever holds it
    + " ".join(f"tests/{name}" for name in FILES if name not in LEFT_OUT)
    + " README.rst docs "
    + " ".join(f"tests/{name}" for name in LAST)
)
# Where objects are compared by identity.
MEANINGLESS = re.compile(r"ReplaceComparisonOperator_Is(Not)?_(Lt|LtE|Gt|GtE)$")
PROCESSES = 4  # some wait for what does not come
MEMORY = 4 << 30  # bytes, for one that grows and grows


def mutants(module: pathlib.Path, folder: str) -> Iterator[Tuple[str, str]]:
    """A module's: each as a line of ``mutants.txt``, and its source."""
    source = module.read_text()
    seen = {source}
    with use_db(f"{folder}/{module.stem}.sqlite", WorkDB.Mode.create) as database:
        init([module], database, {})
        for item in database.work_items:
            (change,) = item.mutations
            if MEANINGLESS.search(change.operator_name):
                continue
            operator = plugins.get_operator(change.operator_name)()
            mutant: Any = mutate_code(source, operator, change.occurrence)
            if mutant in seen or not compiles(mutant):
                continue
            seen.add(mutant)
            lines = list(ndiff(source.splitlines(), mutant.splitlines()))
            before, after = (
                " ".join(line[2:].strip() for line in lines if line[0] == sign)
                for sign in "-+"
            )
            where = f"{module.stem}.{change.definition_name or '(module)'}"
            yield f"{where}: {before} => {after}", mutant


def compiles(source: str) -> bool:
    try:
        compile(source, "a mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def enter_copy(folder: str) -> None:
    """Go to a copy of the tree, and import from there."""
    copy = tempfile.mkdtemp(dir=folder)
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignore, dirs_exist_ok=True)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = copy
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def outcome(name: str, source: str, limit: float) -> str:
    module = pathlib.Path("async_lru", name)
    original = module.read_text()
    module.write_text(source)
    try:
        tests, output = run_tests(TESTS, limit)
    finally:
        module.write_text(original)
    if tests == TestOutcome.SURVIVED:
        return "not noticed"
    return "stopped" if output == "timeout" else "noticed"


def main(names: List[str]) -> int:
    modules = [ROOT / "async_lru" / f"{name}.py" for name in names]
    modules = modules or sorted(ROOT.glob("async_lru/*.py"))
    known = {line for line in KNOWN.read_text().splitlines() if line and line[0] != "#"}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(
        PROCESSES, initializer=enter_copy, initargs=(folder,)
    ) as pool:
        start = time.monotonic()
        unchanged = modules[0].name, modules[0].read_text()
        as_it_is = pool.submit(outcome, *unchanged, 600).result()
        assert as_it_is == "not noticed", "the suite fails as it is"
        limit = 10 + 10 * (time.monotonic() - start)  # several at once, and not all end
        every = [(module, *mutant) for module in modules for mutant in mutants(module, folder)]
        runs = {
            pool.submit(outcome, module.name, source, limit): line
            for module, line, source in every
            if line not in known
        }
        print(f"{len(runs)} mutants, at most {limit:.0f} s for each", flush=True)
        counts: "Counter[str]" = Counter()
        for run in as_completed(runs):
            counts[run.result()] += 1
            if run.result() == "not noticed":
                print(runs[run], flush=True)
            elif run.result() == "stopped":
                print(f"stopped: {runs[run]}", flush=True)
    lines = {line for _, line, _ in every}
    for line in sorted(known - lines):
        if line.partition(".")[0] in {module.stem for module in modules}:
            print(f"to be taken out of {KNOWN.name}: {line}")
    print(
        f"{len(every)} mutants, {len(every) - len(runs)} of them as good as the original;"
        f" of the others {counts['noticed']} noticed, {counts['not noticed']} not,"
        f" {counts['stopped']} stopped, in {(time.monotonic() - start) / 60:.0f} min"
    )
    return int(counts["noticed"] < len(runs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Change the library; do the tests notice?")
    parser.add_argument("modules", nargs="*", help="as _cache; all, if none is named")
    sys.exit(main(parser.parse_args().modules))
