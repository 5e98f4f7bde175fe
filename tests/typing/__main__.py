"""Run mypy and pyright on the cases, for each Python version: ``python -m tests.typing``.

Both run twice: in this environment, and in an empty one, without the typing_extensions that the
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
ROOT = HERE.parent.parent
VERSIONS = [f"3.{minor}" for minor in range(8, 15)]
MYPY_VERSIONS = VERSIONS[2:]  # mypy 2 supports 3.10 and later


def passes(command: Tuple[str, ...]) -> bool:
    run = [sys.executable, "-m", *command, str(HERE)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    print(
        *command, f"\n{done.stdout}{done.stderr}" if done.returncode else "passed", flush=True
    )
    return not done.returncode


def all_pass(commands: List[Tuple[str, ...]]) -> bool:
    return all(passes(command) for command in commands)


def main() -> None:
    with tempfile.TemporaryDirectory() as empty:
        venv.create(empty)
        pythons = [sys.executable, str(Path(empty, "bin", "python"))]
        jobs = [
            [("pyright", "--pythonversion", version, "--pythonpath", python)]
            for version in VERSIONS
            for python in pythons
        ]
        # In one job, because the second run uses the cache of the first.
        jobs += [
            [
                ("mypy", "--python-version", version, "--python-executable", python)
                for python in pythons
            ]
            for version in MYPY_VERSIONS
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(all_pass, jobs))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
