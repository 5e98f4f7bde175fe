"""Run mypy and pyright on the cases, for each Python version: ``python -m tests.typing``.

Each runs twice: in this environment, and in an empty one, without the typing_extensions that the
stub imports.
"""

import os
import subprocess
import sys
import tempfile
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Tuple

HERE = Path(__file__).resolve().parent
VERSIONS = [f"3.{minor}" for minor in range(8, 15)]
MYPY_VERSIONS = VERSIONS[2:]  # mypy 2 knows no older ones


def check(command: Tuple[str, ...]) -> bool:
    run = [sys.executable, "-m", *command, str(HERE)]
    done = subprocess.run(
        run, cwd=HERE.parent.parent, capture_output=True, text=True, check=False
    )
    said = f"{done.stdout}{done.stderr}" if done.returncode else "passed"
    print(*command, said, flush=True)
    return not done.returncode


def check_all(commands: List[Tuple[str, ...]]) -> bool:
    return all([check(command) for command in commands])  # noqa: C419  # not only the first


def main() -> None:
    with tempfile.TemporaryDirectory() as empty:
        venv.create(empty)
        pythons = [sys.executable, str(Path(empty, "bin", "python"))]
        jobs = [
            [("pyright", "--pythonversion", version, "--pythonpath", python)]
            for version in VERSIONS
            for python in pythons
        ]
        # One after the other: the second has the cache of the first.
        jobs += [
            [
                ("mypy", "--python-version", version, "--python-executable", python)
                for python in pythons
            ]
            for version in MYPY_VERSIONS
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            passed = list(pool.map(check_all, jobs))
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
