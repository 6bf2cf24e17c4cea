"""A process in which all is imported already, from which each command is forked: seconds less for each.

It reads a line of JSON a command, {"directory", "arguments", "stdout", "stderr"}, and answers with its exit code.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

LIBRARIES = (
    "hdrh.log",
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.style",
    "multiprocess",
    "numba",
    "numpy.typing",
    "psutil",
    "pydantic",
    "rich.live",
    "rich.table",
    "scipy.special",
    "scipy.stats",
    "tomllib",
    "typer",
)
OURS = ("kernels", "scenarios", "results", "stress")
ROOT = Path(__file__).parents[2]


class Warm:
    """Runs commands, one after the other, until one does not come to its end; from then on it is `lost`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.lost = False
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "stress.tests.warm"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, directory: Path, arguments: Sequence[str], most_s: float) -> subprocess.CompletedProcess[str]:
        """`python -m stress` with these arguments, in this directory. Raises TimeoutError."""
        try:
            with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
                code = self._ran(directory, arguments, stdout, stderr, most_s)
                for file in (stdout, stderr):
                    file.seek(0)
                return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process, and the command that it may be in."""
        self.lost = True
        with self._process as process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def _ran(self, directory: Path, arguments: Sequence[str], stdout: IO[str], stderr: IO[str], most_s: float) -> int:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        said = {"stdout": stdout.fileno(), "stderr": stderr.fileno()}
        paths = {name: f"/proc/{os.getpid()}/fd/{number}" for name, number in said.items()}
        asked.write(json.dumps({"directory": str(directory), "arguments": arguments, **paths}).encode() + b"\n")
        asked.flush()
        if not select.select([answers], [], [], most_s)[0]:
            raise TimeoutError(f"{arguments}: not done after {most_s} s")
        return int(answers.readline())


def main() -> None:
    """Fork until there is nothing more to read. In a fork: what `python -m stress` does."""
    for name in (*LIBRARIES, *_our_modules()):
        importlib.import_module(name)
    sys.modules["numba"].njit(lambda number: number).compile("int64(int64)")  # what numba imports only then
    gc.collect()
    gc.freeze()  # or each fork would look through all of it, and copy it
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _our_modules() -> Iterator[str]:
    """Those of the commands: no tests, and nothing that runs where it is imported."""
    for room in OURS:
        for module in pkgutil.walk_packages([str(ROOT / room)], f"{room}."):
            if not module.ispkg and not {"tests", "__main__", "build_hook", "make"} & set(module.name.split(".")):
                yield module.name


def _become(directory: str, arguments: list[str], stdout: str, stderr: str) -> None:
    for number, path in enumerate((os.devnull, stdout, stderr)):
        opened = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    os.chdir(directory)
    sys.path[0] = directory
    sys.argv = ["tdx-stress", *arguments]
    runpy.run_module("stress", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
