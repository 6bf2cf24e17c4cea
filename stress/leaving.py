"""What every verb with a result does around it: where it comes from, the directory that it goes into, and what to do
with a file that cannot be written.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from results.machine.host import host_facts
from results.store import RunDirectory, StoreError, json_bytes, open_run_directory, write_file
from stress.errors import UsageFault
from stress.provenance import commit, version
from stress.request import STDOUT


def origin(command: Sequence[str], host: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Command, version, commit, the time in UTC, and the host's facts, if they are not given: the head of a result."""
    return {
        "command": list(command),
        "version": version(),
        "commit": commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": dict(host or host_facts()),
    }


@contextlib.contextmanager
def result_directory(out: Path | None, name: str) -> Iterator[RunDirectory]:
    """The directory of a result; one that was made for it and stays empty is gone at the end. Raises UsageFault."""
    try:
        directory = open_run_directory(out, name)
    except StoreError as error:
        raise UsageFault(str(error)) from None
    try:
        yield directory
    finally:
        if out is None:
            with contextlib.suppress(OSError):
                directory.path.rmdir()


@contextlib.contextmanager
def noted(refused: list[StoreError]) -> Iterator[None]:
    """What was found is shown, and written elsewhere, even where one file cannot be written."""
    try:
        yield
    except StoreError as error:
        refused.append(error)


def hand_out_json(target: str | None, result: Mapping[str, Any]) -> None:
    """The result in the file of `--json`, where it names one. Raises StoreError."""
    if target not in (None, STDOUT):
        content = json_bytes(result)
        write_file(Path(str(target)), lambda file: file.write(content))


def put_document(
    directory: RunDirectory, stem: str, document: Mapping[str, Any], picture: Callable[..., None] | None
) -> None:
    """`stem`.json, and what `picture` draws of it as PNG and as SVG. Raises StoreError."""
    content = json_bytes(document)
    directory.put({f"{stem}.json": lambda file: file.write(content)})
    if picture is not None:
        directory.put({f"{stem}.{kind}": partial(picture, document, kind=kind) for kind in ("png", "svg")})
