"""Compiled code between two runs: bytes by a name, kept where nobody but their user can write.

What is kept is machine code, and numba's is unpickled: whoever could write it would run code as us. So a directory that
somebody else can write is not used, nor a file; and before each file's bytes stands a digest of them and of their name,
so that a file that was cut, flipped or renamed is thrown away and compiled anew. No trouble with it ends a run: what
cannot be kept is compiled again the next time, and `troubles` has a line about it.
"""

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import llvmlite
from llvmlite import binding

from kernels.files import own_contents, who_else_writes, write_whole
from kernels.language.syntax import SOURCES

MOST_BYTES = 256 << 20
DIGEST_BYTES = hashlib.sha256().digest_size
SUFFIX = ".code"
_not_kept: dict[str, None] = {}


def sources_digest() -> str:
    """Names every kernel source, on any machine."""
    made = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*.py")):
        if "tests" not in (within := path.relative_to(SOURCES)).parts:
            made.update(str(within).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()[:24]


def digest() -> str:
    """Names the cache: every kernel source, Python, numba, LLVM, the CPU and its features."""
    made = hashlib.sha256(sources_digest().encode())
    versions = (sys.version, metadata.version("numba"), llvmlite.__version__, binding.get_host_cpu_name())
    made.update(repr((versions, sorted(binding.get_host_cpu_features().items()))).encode())
    return made.hexdigest()[:24]


@functools.cache
def _name() -> str:
    return digest()


def cache_directory() -> Path | None:
    """Where this version's compiled code is kept: below TDX_STRESS_CACHE, XDG_CACHE_HOME or ~/.cache, or else below a
    temporary directory; None where nothing is kept.
    """
    return next(_places(), None)


def read(name: str) -> bytes | None:
    """What was kept under this name; None where nothing was. What is damaged is thrown away."""
    for place in _places(make=False):
        path = place / (name + SUFFIX)
        if (found := own_contents(path, MOST_BYTES)) is None:
            continue
        if found[:DIGEST_BYTES] == _digest_of(path, found[DIGEST_BYTES:]):
            return found[DIGEST_BYTES:]
        with contextlib.suppress(OSError):
            path.unlink()
    return None


def keep(name: str, code: bytes) -> None:
    """Leave bytes to later processes, in the first place that takes them."""
    said = ""
    for place in _places():
        path = place / (name + SUFFIX)
        try:
            write_whole(path, _digest_of(path, code) + code, 0o600)
        except OSError as error:
            said = said or f"{place}: compiled code cannot be kept: {(error.strerror or str(error)).lower()}"
            continue
        if said:
            _not_kept[f"{said}; it is in {place} instead"] = None
        return
    if said:
        _not_kept[said] = None


def is_kept(names: Iterable[str]) -> bool:
    """Whether code of each of these kinds was kept, such as `straight_vcpu`: their files' names go on with a digest."""
    places = list(_places(make=False))
    return all(any(next(place.glob(f"{name}_*{SUFFIX}"), None) for place in places) for name in names)


def troubles() -> list[str]:
    """A line for each directory that is not used because somebody else can write it, and for what could not be kept."""
    found = [refusal for base in _bases() if (refusal := _refusal(base))]
    if not found and cache_directory() is None:
        found = ["no directory for compiled code can be written; each run compiles anew"]
    return [*found, *_not_kept]


@dataclass(frozen=True, slots=True)
class Looked:
    """What stands in the cache: whole files and their bytes, and how many were damaged and are gone."""

    directory: Path | None
    files: int
    bytes: int
    damaged: int


def look() -> Looked:
    """Read all of it."""
    files, size, damaged = 0, 0, 0
    for place in _places(make=False):
        for path in sorted(place.glob(f"*{SUFFIX}")):
            code = read(path.name.removesuffix(SUFFIX))
            files, size, damaged = files + (code is not None), size + len(code or b""), damaged + (code is None)
    return Looked(cache_directory(), files, size, damaged)


def _digest_of(path: Path, code: bytes) -> bytes:
    return hashlib.sha256(f"{path.parent.name}/{path.name}\0".encode() + code).digest()


def _bases() -> Iterator[Path]:
    """Below which directories, the one that was chosen first."""
    chosen = os.environ.get("TDX_STRESS_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/tdx-stress"
    with contextlib.suppress(RuntimeError):  # nobody's home
        yield Path(chosen).expanduser()
    with contextlib.suppress(OSError):  # no temporary directory
        yield Path(tempfile.gettempdir()) / f"tdx-stress-{os.geteuid()}"


def _places(*, make: bool = True) -> Iterator[Path]:
    """The directories that can be used; with `make` also those that are not there, each made as it is asked for."""
    for base in _bases():
        place = base / _name()
        with contextlib.suppress(OSError):
            if not make and not place.is_dir():
                continue
            if not place.is_dir():
                base.parent.mkdir(parents=True, exist_ok=True)
                base.mkdir(mode=0o700, exist_ok=True)
            if _refusal(base):
                continue
            place.mkdir(mode=0o700, exist_ok=True)
            if os.access(place, os.W_OK):
                yield place


def _refusal(base: Path) -> str:
    """Why a directory is not used: somebody else can write it, or what is below it; "" where nobody can, or it is not
    there. In a sticky one such as /tmp others cannot touch what is ours.
    """
    for path, found in ((base, _status(base, links=True)), (base / _name(), _status(base / _name(), links=False))):
        if found is None or (path == base and found.st_mode & stat.S_ISVTX):
            continue
        if reason := who_else_writes(found) or ("" if stat.S_ISDIR(found.st_mode) else "it is no directory"):
            return f"{path}: compiled code there is not used: {reason}"
    return ""


def _status(path: Path, *, links: bool) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=links)
    except OSError:
        return None
