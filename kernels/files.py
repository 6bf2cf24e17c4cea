"""Files read within bounds and written whole: the only reader and the only writer of all rooms.

A file that a user names may be anything: a device that never ends, a pipe that nobody writes, a directory, a link to
itself. So whoever reads says how much at most, and waits for a pipe only so long.
"""

import contextlib
import errno
import itertools
import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path

WAIT_S = 5.0
CHUNK = 1 << 20
UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"))
_serial = itertools.count()


class Unreadable(OSError):
    """A file that is not what was expected, or cannot be read; `str()` is one line for the user."""

    def __str__(self) -> str:
        return str(self.args[1])


def contents(path: Path, most: int, kind: str, shown_as: str = "") -> bytes:
    """All bytes of a file, at most so many; `kind` is what was expected: "a witness". Raises Unreadable."""
    name = shown_as or str(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            return _within(handle, most)
        finally:
            os.close(handle)
    except Unreadable as error:
        raise Unreadable(error.errno, f"{name}: expected {kind} {error}") from None
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte in the path
        raise Unreadable(errno.ENOENT, f"{name}: expected {kind}, found no such file") from None
    except IsADirectoryError:
        raise Unreadable(errno.EISDIR, f"{name}: expected {kind}, found a directory") from None
    except OSError as error:
        said = (error.strerror or "unknown error").lower()
        raise Unreadable(error.errno, f"{name}: cannot be read: {said}") from None


def own_contents(path: Path, most: int) -> bytes | None:
    """The same of a file of ours that nobody else can write, which is no link; None where it is none, or not there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = os.fstat(handle)
            ours = stat.S_ISREG(found.st_mode) and not who_else_writes(found)
            return _within(handle, most) if ours else None
        finally:
            os.close(handle)
    except OSError:
        return None


def who_else_writes(found: os.stat_result) -> str:
    """Why somebody but this process's user can change what this is of; "" where nobody can."""
    if found.st_uid != os.geteuid():
        return f"it belongs to another user ({found.st_uid})"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write it (mode {stat.S_IMODE(found.st_mode):o})"
    return ""


def in_units(size: int) -> str:
    """`64 MiB`, `1.5 GiB`: bytes as people write them."""
    power, unit = next((it for it in UNITS if size >= 1 << it[0]), (0, "bytes"))
    return f"{size / (1 << power):.3g} {unit}"


def _within(handle: int, most: int) -> bytes:
    found, until = bytearray(), time.monotonic() + WAIT_S
    waits = select.poll()
    waits.register(handle, select.POLLIN)
    while True:
        if not waits.poll(max(until - time.monotonic(), 0) * 1000):
            raise Unreadable(errno.ETIMEDOUT, f"within {WAIT_S:g} s, found no end of it")
        chunk = os.read(handle, min(CHUNK, most + 1 - len(found)))
        if not chunk:
            return bytes(found)
        found += chunk
        if len(found) > most:
            raise Unreadable(errno.EFBIG, f"of at most {in_units(most)}, found more")


def write_all(handle: int, content: bytes) -> None:
    """Write and have it on the disk. Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]
    os.fsync(handle)


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Put a file in the place of `path`, whole or not at all: until it is whole it has no name, where the file system
    knows such files, so that whoever kills us leaves nothing behind. Raises OSError.
    """
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.{next(_serial)}.tmp")
    handle = -1
    try:
        try:
            handle = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, mode)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        named = handle < 0
        if named:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        write_all(handle, content)
        if not named:
            # With a directory beside it Python calls linkat(), which follows the link that stands there.
            os.link(f"/proc/self/fd/{handle}", temporary, src_dir_fd=handle, follow_symlinks=True)
        os.replace(temporary, path)
    finally:
        if handle >= 0:
            os.close(handle)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def nameless(content: bytes = b"") -> Iterator[Path]:
    """A file in memory for who takes nothing but paths: nothing is left of it, however we end. Raises OSError."""
    with open(os.memfd_create("nameless"), "w+b", buffering=0) as file:
        file.write(content)
        yield Path(f"/proc/self/fd/{file.fileno()}")
