"""Compiling two things at once: another interpreter fills the cache with one of them meanwhile."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator

from kernels.language.cache import cache_directory, is_kept
from kernels.language.syntax import ROOT


@contextlib.contextmanager
def compiling_elsewhere(names: Iterable[str], code: str) -> Iterator[None]:
    """Where the cache holds nothing compiled under one of these names, run `code` in another interpreter meanwhile: two
    CPUs, half the wait. Where nothing can be kept, or no process is to be had, all is compiled here.
    """
    if cache_directory() is None or is_kept(names):
        yield
        return
    # PR_SET_PDEATHSIG, SIGKILL: it ends with this process, however that ends.
    dies = "import ctypes; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)"
    paths = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH")) if path)
    silent = subprocess.DEVNULL
    try:
        helper = subprocess.Popen(
            [sys.executable, "-c", f"{dies}; {code}"],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=silent,
            stdout=silent,
            stderr=silent,
        )
    except OSError:
        yield
        return
    try:
        yield
        helper.wait()  # failing is no harm: then it is compiled here
    finally:
        helper.kill()
        helper.wait()
