"""A process in which libraries are imported already, from which each command is forked: half a second less for each.

Reads a line of JSON for each command, {"directory", "arguments", "stdout", "stderr"}, and answers with its exit code.
Only what others wrote is imported before: each command imports all of our modules itself.
"""

import gc
import json
import os
import runpy
import sys

LIBRARIES = (
    *("hdrh.log", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.style"),
    *(
        "multiprocess",
        "numba",
        "numpy.typing",
        "psutil",
        "pydantic.main",
        "pydantic.types",
        "rich.console",
        "rich.live",
    ),
    *("rich.table", "scipy.special", "scipy.stats", "tomllib", "typer._click.decorators"),
)


def main() -> None:
    """Fork until there is nothing more to read. In a fork: what `python -m stress` does."""
    for library in LIBRARIES:
        __import__(library)
    sys.modules["numba"].njit(lambda number: number).compile("int64(int64)")  # what numba imports only then
    gc.collect()
    gc.freeze()  # or each fork would look through all of it, and copy it
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


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
