"""Run mypy and pyright on the cases, for each Python version: ``python -m tests.typing``.

Each version is checked in this environment, and in an empty one, without the typing_extensions
that the stub imports. Where mypy does both, pyright, which is slower, does the second only.
"""

import os
import subprocess
import sys
import tempfile
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OLD = ["3.8", "3.9"]  # mypy 2 does not support these
VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def pyright(version: str, python: str) -> List[str]:
    return ["pyright", "--pythonversion", version, "--pythonpath", python]


def mypy(version: str, python: str) -> List[str]:
    return ["mypy", "--python-version", version, "--python-executable", python]


def passes(command: List[str]) -> bool:
    run = [sys.executable, "-m", *command, str(HERE)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    print(
        *command, f"\n{done.stdout}{done.stderr}" if done.returncode else "passed", flush=True
    )
    return not done.returncode


def all_pass(commands: List[List[str]]) -> bool:
    return all(passes(command) for command in commands)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory)
        this, empty = sys.executable, str(Path(directory, "bin", "python"))
        jobs = [[pyright(version, empty)] for version in OLD + VERSIONS]
        jobs += [[pyright(version, this)] for version in OLD]
        # In one job, because the second run uses the cache of the first.
        jobs += [[mypy(version, this), mypy(version, empty)] for version in VERSIONS]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(all_pass, jobs))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
