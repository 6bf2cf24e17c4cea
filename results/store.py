"""The directory of a result: each file whole or not there, and read back with one line for what is wrong.

Every file is written under a temporary name of this process, then renamed. Without `--out` a run makes a directory of
its own, `runs/<UTC time>-<scenario>`, and `runs/latest` points to the run that first wrote last. With `--out DIR` the
files go right into DIR. Two runs at once in one DIR: writes take turns (a lock on the directory), each `write` leaves
the files of one run, and the last one to write wins.
"""

import contextlib
import errno
import fcntl
import io
import itertools
import json
import os
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from kernels.files import Unreadable, contents, in_units, write_all, write_whole

RESULT, RAW, TRACE = "result.json", "raw.npz", "trace.json"
# About what the largest run writes at once: many orderings' histograms, compressed, and two pictures.
PROBE_BYTES = 4 << 20
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# The most that is read of a file of JSON, of one of arrays, and of what that unpacks to.
MOST_JSON, MOST_PACKED, MOST_UNPACKED, MOST_ARRAYS = 64 << 20, 256 << 20, 1 << 30, 20_000
_serial = itertools.count()


class StoreError(OSError):
    """A result that cannot be written or read; `str()` is the one line for the user."""

    exit_code = 3

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(slots=True)
class RunDirectory:
    """Where one run leaves its files. `latest` is the link to point here at the first write, or None."""

    path: Path
    latest: Path | None = None

    def write(
        self,
        result: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        name: str = RESULT,
        *,
        trace: Mapping[str, Any] | None = None,
        draw: Callable[[Path], None] | None = None,
    ) -> None:
        """Write raw.npz, trace.json where there is one, and the result under its name; then `draw` makes of them what
        stands beside.

        In that order, each atomically; may be called again and again as orderings finish. Raises StoreError; files not
        yet reached stay as they were.
        """
        files = {RAW: array_bytes(arrays)}
        if trace is not None:
            from results.exchange.trace_events import text as trace_text

            files[TRACE] = trace_text(trace).encode()
        self.put({**files, name: json_bytes(result)}, draw)

    def put(self, files: Mapping[str, bytes], draw: Callable[[Path], None] | None = None) -> None:
        """Write files by name, in this order and each atomically. Raises StoreError, as `write` does."""
        with _turn(self.path):
            write_files(self.path, files)
            if draw is not None:
                draw(self.path)
        if self.latest is not None:
            point_latest(self.latest, self.path.name)
            self.latest = None


def open_run_directory(out: Path | None, scenario_name: str, root: Path = Path("runs")) -> RunDirectory:
    """Make the directory of a run and prove by a probe of 4 MiB that it can be written. Call before the race.

    Raises StoreError where it cannot; nothing that was made stays behind then.
    """
    asked = root if out is None else out
    made = [path for path in (asked, *asked.parents) if not path.exists()]
    try:
        path = _own_directory(root, scenario_name) if out is None else out
        path.mkdir(parents=True, exist_ok=True)
        if out is None:
            made.insert(0, path)
        # In a file without a name: whoever ends us meanwhile finds nothing left.
        with tempfile.TemporaryFile(dir=path, buffering=0) as file:
            write_all(file.fileno(), bytes(PROBE_BYTES))
    except OSError as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise _refused(error, asked, "give another directory with --out") from None
    return RunDirectory(path, None if out is not None else root / "latest")


def stored_bytes(where: Path, most: int, what: str) -> bytes:
    """The bytes of a file of a result, at most so many. Raises StoreError, which says `what` was expected: a file, or
    the directory of one.
    """
    try:
        return contents(where, most, what)
    except Unreadable as error:
        if error.errno == errno.ENOENT and what.startswith("the directory"):
            found = f"no {where.name} in it" if where.parent.exists() else "no such directory"
            raise StoreError(f"{where.parent}: expected {what}, found {found}") from None
        raise StoreError(str(error)) from None


def read_document(where: Path, what: str, models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """A document of one of these schemas that its model takes. Raises StoreError."""
    document = json_value(where, stored_bytes(where, MOST_JSON, f"the directory of {what}"))
    found = document.get("schema") if isinstance(document, dict) else None
    model = models.get(found) if isinstance(found, str) else None
    if model is None:
        raise StoreError(f"{where}: expected schema {' or '.join(models)}, found {shortened(found)}")
    if wrong := trouble_by(model, document):
        raise StoreError(f"{where}: {wrong}")
    return dict(document)


def json_value(where: Path, content: bytes) -> Any:
    """JSON in UTF-8, without halves of a pair of surrogates, which no file and no font takes. Raises StoreError."""
    try:
        value = json.loads(text := content.decode())
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where}: expected JSON, found something else: {shortened(error)}") from None


def shortened(value: object, most: int = 120) -> str:
    """What was found, cut where it is long."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def read_arrays(path: Path, whose: str) -> dict[str, NDArray[Any]]:
    """All arrays of a file. Raises StoreError, which says whose arrays were expected."""
    content = io.BytesIO(stored_bytes(path, MOST_PACKED, f"the arrays of {whose}"))
    try:
        with zipfile.ZipFile(content) as archive:
            members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > MOST_UNPACKED or len(members) > MOST_ARRAYS:
            found = f"{in_units(size)} in {len(members):,}"
            raise StoreError(
                f"{path}: expected arrays of at most {in_units(MOST_UNPACKED)} unpacked, in at most {MOST_ARRAYS:,} "
                f"files, found {found}"
            )
        with np.load(content, allow_pickle=False) as raw:
            arrays = {name: raw[name] for name in raw.files}
        if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{strange[0]} is no array")
        return arrays
    except StoreError:
        raise
    except Exception as error:  # zipfile, zlib, numpy's parser and its tokenizer each have errors of their own
        said = str(error).partition("\n")[0] or type(error).__name__
        raise StoreError(f"{path}: expected the arrays of {whose}: {shortened(said)}") from None


def _own_directory(root: Path, scenario_name: str) -> Path:
    """A new directory that no other run has, even in the same second."""
    root.mkdir(parents=True, exist_ok=True)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(scenario_name).name).strip("-.")[:64] or "run"
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{plain}"
    for serial in itertools.count(1):
        path = root / (name if serial == 1 else f"{name}-{serial}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Hold the directory's lock, where its file system has locks."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refused(error, path, "the directory could be written before the race") from None
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """A result as the text of a file: UTF-8, a line end at its end. Raises ValueError on NaN."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def array_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays by name as the content of a file, which `read_arrays` reads."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name, in this order, each as `write_file` does."""
    for name, content in contents.items():
        write_file(directory / name, content)


def write_file(path: Path, content: bytes) -> None:
    """Put this in the place of `path`, whole or not at all; into it where it is no regular file. Raises StoreError."""
    special = False
    try:
        special = path.exists() and not path.is_file()
        if special:  # a pipe or a device, such as /dev/stdout: nothing to rename
            path.write_bytes(content)
        else:
            write_whole(path, content)
    except OSError as error:
        advice = "give a file that can be written" if special else "what was written before stands"
        raise _refused(error, path, advice) from None


def point_latest(link: Path, target: str) -> None:
    """Point the link to the target. A convenience: where links cannot be made, there is none."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}.{next(_serial)}.tmp")
    with contextlib.suppress(OSError):
        temporary.symlink_to(target)
        os.replace(temporary, link)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def _refused(error: OSError, path: Path, advice: str) -> StoreError:
    return StoreError(f"{path}: cannot write: {error.strerror or error}; {advice}")


def trouble_by(model: type[BaseModel], value: Any) -> str | None:
    """What keeps this value from being one of the model's, in one line; None where nothing does."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return trouble(error)
    return None


def trouble(error: ValidationError) -> str:
    """What a model refuses, in one line: `runs[0].latency_ns.shootdown.p50: Field required`; of several the first, with
    how many follow.
    """
    first, *others = error.errors(include_url=False, include_context=False)
    found = "" if first["type"] == "missing" else f", found {shortened(repr(first['input']), 40)}"
    more = f" (and {len(others)} more)" if others else ""
    what = first["msg"].removeprefix("Value error, ")
    return f"{_place(first['loc'])}: {what}{found if 'found' not in what else ''}{more}"


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the whole"
