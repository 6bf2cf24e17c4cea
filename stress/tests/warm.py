"""A process in which all is imported and compiled already, from which each command is forked: seconds less for each.

It reads a line of JSON a command, {"directory", "arguments", "code", "stdout", "stderr"}, and answers with its pid.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

LIBRARIES = (
    "jinja2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.style",
    "multiprocess", "numba", "numpy.typing", "psutil", "pydantic", "rich.live", "rich.table", "scipy.special",
    "scipy.stats", "tomllib", "typer",
)  # fmt: skip
OURS = ("kernels", "scenarios", "results", "stress")
ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]


class Warm:
    """Starts commands and scripts. Each becomes our child, as we are who orphans of our descendants are given to
    (`pytest_configure`), and is the first of a session of its own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "stress.tests.warm"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(self, directory: Path, arguments: Sequence[str], code: str = "") -> "Started":
        """`python -m stress`, or `python -c code`, with these arguments in this directory, left to run."""
        return Started(self, directory, arguments, code)

    def run(self, directory: Path, arguments: Sequence[str], most_s: float, code: str = "") -> Done:
        """The same, run to its end. Raises TimeoutExpired behind `most_s`, when it is killed."""
        with self.start(directory, arguments, code) as process:
            try:
                stdout, stderr = process.communicate(timeout=most_s)
            except BaseException:
                process.kill()
                raise
            return Done(arguments, process.returncode, stdout, stderr)

    def forked(self, **asked: object) -> int:
        """The pid of a new process of this kind."""
        asking, answers = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answers is not None
        asking.write(json.dumps(asked).encode() + b"\n")
        asking.flush()
        return int(answers.readline())

    def close(self) -> None:
        """End the process; those that it started are not its own."""
        with self._process as process:
            process.kill()


class Started(subprocess.Popen[str]):
    """A process with pipes for what it says, forked by another one than ours."""

    def __init__(self, warm: Warm, directory: Path, arguments: Sequence[str], code: str) -> None:
        self._fork = partial(warm.forked, directory=str(directory), code=code)
        super().__init__(list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _execute_child(self, args: list[str], *settings: Any) -> None:
        """Where `subprocess` forks; among the settings stand the ends of its pipes."""
        *_, stdout, _, stderr = settings[:15]
        try:
            said = {"stdout": f"/proc/{os.getpid()}/fd/{stdout}", "stderr": f"/proc/{os.getpid()}/fd/{stderr}"}
            self.pid = self._fork(arguments=args, **said)
            self._child_created = True
        finally:
            os.close(stdout)
            os.close(stderr)


def main() -> None:
    """Fork until there is nothing more to read. In a fork: what `python -m stress` or `python -c` does."""
    for name in (*LIBRARIES, *_our_modules()):
        importlib.import_module(name)
    _take_once()
    gc.collect()
    gc.freeze()  # or each fork would look through all of it, and copy it
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _leave()
            _become(**json.loads(line))
            return
        os.waitpid(pid, 0)


def _take_once() -> None:
    """What nearly every command computes or takes from the cache of compiled code alike."""
    from kernels.race import lines
    from kernels.race.clock import calibrate
    from kernels.race.probes import load_probes
    from kernels.search import tables
    from kernels.tdx.protocol import SHOOTDOWN
    from kernels.tdx.raising import raisable
    from kernels.tdx.rules import Flow

    lines.straight = cache(lines.straight)
    lines.load(SHOOTDOWN)
    tables.get_ready(SHOOTDOWN)
    load_probes()
    calibrate(0.001)
    raisable(Flow.SHOOTDOWN)


def _leave() -> None:
    """Be nobody's child, and then of whom orphans are given to."""
    before = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
    while os.getppid() == before:
        time.sleep(0.001)


def _our_modules() -> Iterator[str]:
    """Those of the commands: no tests, and nothing that runs where it is imported."""
    for room in OURS:
        for module in pkgutil.walk_packages([str(ROOT / room)], f"{room}."):
            if not module.ispkg and not {"tests", "__main__", "build_hook", "make"} & set(module.name.split(".")):
                yield module.name


def _become(directory: str, arguments: list[str], code: str, stdout: str, stderr: str) -> None:
    answers = os.dup(1)
    for number, path in enumerate((os.devnull, stdout, stderr)):
        opened = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.write(answers, f"{os.getpid()}\n".encode())
    os.close(answers)
    # The streams of before belong to files of another kind.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.chdir(directory)
    sys.path[0] = directory
    sys.argv = ["-c" if code else "tdx-stress", *arguments]
    if code:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module("stress", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
