"""Long jobs as pieces: each has a key and a plain description, is run by a function that any process can call, and is
stored as it ends. So shares of a job run on many machines, and what ended before its end goes on with what is missing.

`pieces/job.json` holds what decides all pieces, `pieces/KEY.json` what came of one, `pieces/machine-ID.json` the facts
of a machine that ran some: a random id, no host name.
"""

import base64
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from kernels.language.cache import sources_digest
from results.collect.race import Run as Race
from results.machine.host import host_facts
from results.store import MOST_JSON, StoreError, json_bytes, json_value, stored_bytes, trouble_by, write_file
from results.verdict import Ending, Verdict
from stress.interrupts import Interrupts
from stress.provenance import command, commit, machine_id, utc, version
from stress.screen import Screen
from stress.session import origin

SCHEMA, FOLDER, JOB = "tdx-stress/pieces/1", "pieces", "job.json"
GROWS = ("rounds", "budget_s")  # of a subject, what may be more when a job goes on
Plain = dict[str, Any]
Run = Callable[[Plain, Interrupts, Screen | None], tuple[Plain, bool]]


class Job(NamedTuple):
    """What is to be done, and of which `kind` its result is. `subject` decides everything, as JSON; `run` does a piece,
    and says whether to its end; `document` makes the result of head, subject and what is there by key. `races`: a piece
    has its machine alone. Where the result is more than a document, and holds all that pieces do, `keep` stores what
    there is of it, and `leave` stores and shows it; the pieces go when it is whole.
    """

    verb: str
    kind: str
    subject: Plain
    pieces: dict[str, Plain]
    run: Run
    document: Callable[[Plain, Plain, Mapping[str, Plain]], Plain] = lambda *given: {}
    races: bool = False
    keep: Callable[[Any, "Job", "Pieces"], None] | None = None
    leave: Callable[[Any, Any, "Job", "Pieces"], int] | None = None

    @property
    def header(self) -> Plain:
        """As it stands in job.json; what two shares of one job have in common. A piece of a job is one of it grown."""
        made = {"verb": self.verb, "version": version(), "kernels": sources_digest()}
        lasting = {key: value for key, value in self.subject.items() if key not in GROWS}
        subject, job = {"subject": self.subject, "pieces": len(self.pieces)}, digest_of({**made, "subject": lasting})
        return {"schema": SCHEMA, "command": _command(), **made, **subject, "commit": commit(), "job": job}


def digest_of(value: Plain) -> str:
    """What tells whether it is still what it was."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _command() -> list[str]:
    """What was typed, of a share without which and where it is: its pieces become a result with others'."""
    words = command()
    if not any(word.startswith("--share") for word in words):
        return words
    values = {at + 1 for at, word in enumerate(words) if word in ("--share", "--out")}
    return [w for at, w in enumerate(words) if at not in values and w.partition("=")[0] not in ("--share", "--out")]


class _Summed(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, defer_build=True)

    sum: str  # of all else in the file


class _Strict(_Summed):
    schema_: str = Field(alias="schema", pattern=f"^{SCHEMA}$")
    version: str
    kernels: str
    job: str


class JobShape(_Strict):
    """job.json."""

    verb: str
    command: list[str] | None = None  # of a job that was begun by an earlier commit
    commit: str | None
    subject: dict[str, Any]
    pieces: int


class PieceShape(_Strict):
    """What is stored of a piece."""

    key: str
    seed: int | None
    machine: str
    started: str
    seconds: float
    found: dict[str, Any]


def key_of(number: int, *words: str) -> str:
    """The name of a piece's file: its number, and whatever of these words may stand in one."""
    return f"{number:05d}-" + re.sub(r"[^A-Za-z0-9_,.+]+", "-", ".".join(words))[:120]


@cache
def facts() -> Plain:
    """Of this machine, as this process found it first."""
    return host_facts()


def packed(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Arrays as text, for a piece."""
    into = io.BytesIO()
    np.savez_compressed(into, **arrays)  # type: ignore[arg-type]
    return base64.b64encode(into.getvalue()).decode()


def arrays_of(text: str) -> dict[str, NDArray[Any]]:
    """The way back."""
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as raw:
        return {key: raw[key] for key in raw.files}


def ran(run: Run, described: Plain, interrupts: Interrupts, progress: Screen | None) -> Plain:
    """A piece, run here, with all that is to be stored of it but its key; and whether it was run to its end."""
    begun, started = time.monotonic(), utc()
    found, whole = run(described, interrupts, progress)
    seconds = round(time.monotonic() - begun, 3)
    told = {"seed": described.get("seed"), "machine": machine_id(), "started": started, "seconds": seconds}
    return {**told, "found": found, "whole": whole}


def raced(race: Race, host: Plain) -> tuple[Plain, bool]:
    """What is stored of a piece that is one race, and whether that came to its end."""
    whole = race.json["ending"] != Ending.interrupted and race.json["verdict"] != Verdict.crashed
    return {"run": race.json, "arrays": packed(race.arrays), "host": host}, whole


@dataclass(slots=True)
class Pieces:
    """The pieces of one job in one directory: those that are there, and how a new one is stored."""

    path: Path
    header: Plain
    done: dict[str, Plain] = field(default_factory=dict)
    machines: dict[str, Plain] = field(default_factory=dict)
    partial: dict[str, Plain] = field(default_factory=dict)  # ended before their end: told, not stored
    fresh: set[str] = field(default_factory=set)  # those that were not read from a file
    threads: int = 1
    lock: int | None = None

    def add(self, key: str, one: Plain, host: Plain) -> None:
        """One more, with the facts of its machine. Raises StoreError."""
        one = dict(one)
        if not one.pop("whole"):
            self.partial |= {key: one} if one["found"] else {}
            return
        if one["machine"] not in self.machines:
            self.machines[one["machine"]] = host
            self._put(f"machine-{one['machine']}.json", host)
        self.done[key] = one
        self.fresh.add(key)
        self._store(key)

    def _store(self, key: str) -> None:
        head = {name: self.header[name] for name in ("schema", "job", "version", "kernels")}
        self._put(f"{key}.json", {**head, "key": key, **self.done[key]})

    def begin(self) -> None:
        """The folder, with the job, our own until `end`; until then pieces are in memory alone. Raises StoreError."""
        folder = self.path / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{self.path}: another command runs its pieces now; wait for it, or give another"
            ) from None
        except OSError as error:
            if self.lock is None:
                raise StoreError(f"{folder}: cannot write: {error.strerror}") from None
        self._put(JOB, self.header)
        for name, host in self.machines.items():
            self._put(f"machine-{name}.json", host)
        for key in self.fresh:
            self._store(key)

    def end(self) -> None:
        """Let others have the folder."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def drop(self) -> None:
        """Remove the folder: its pieces are in a result, or there are none."""
        self.end()
        shutil.rmtree(self.path / FOLDER, ignore_errors=True)

    def _put(self, name: str, value: Plain) -> None:
        if self.lock is not None:
            write_file(self.path / FOLDER / name, json_bytes({**value, "sum": digest_of(value)}))

    @property
    def to_go_on_with(self) -> bool:
        """Whether there is anything of them: a piece that ended, or one that was begun and is told."""
        return bool(self.done or self.partial)

    @property
    def seconds(self) -> float:
        """Of all pieces together."""
        return float(sum(one["seconds"] for one in (*self.done.values(), *self.partial.values())))

    def of(self, job: Job) -> dict[str, Plain]:
        """What there is of a job's pieces, in order, those that ended before their end as well."""
        ours = {**self.done, **self.partial}
        return {key: ours[key] for key in job.pieces if key in ours}

    def head(self, job: Job) -> Plain:
        """Of a result: where it comes from, with the facts of each machine; `host` is the one that ran most of it."""
        ours = self.of(job).values()
        counts = Counter(one["machine"] for one in ours)
        hosts = {name: {"pieces": count, **self.machines.get(name, {})} for name, count in sorted(counts.items())}
        for one in ours:
            hosts[one["machine"]] |= one["found"].get("host", {})
        most = counts.most_common(1)[0][0] if counts else machine_id()
        host = {key: value for key, value in hosts.get(most, facts()).items() if key != "pieces"}
        head = {**origin({**host, "id": most}), "hosts": hosts}
        head["command"] = self.header.get("command") or head["command"]
        return {**head, "started": min([head["started"], *(one["started"] for one in ours)])}

    def document(self, job: Job) -> Plain:
        """The result of what is there; raises StoreError where that is of another making."""
        how = {"threads": self.threads, "seconds": round(self.seconds / self.threads, 3)}
        try:
            return job.document(self.head(job), how, {key: one["found"] for key, one in self.of(job).items()})
        except (KeyError, TypeError, ValueError) as error:
            where = f"{self.path / FOLDER}: expected pieces of this version"
            raise StoreError(f"{where}, found others: {type(error).__name__}: {error}") from None


def read_pieces(directory: Path) -> Pieces:
    """The pieces of a directory, all sound. Raises StoreError."""
    folder = directory / FOLDER
    header = read_part(folder / JOB, JobShape, "pieces")
    found = Pieces(directory, header)
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith("machine-"):
            found.machines[path.stem.removeprefix("machine-")] = read_part(path, _Summed, "the facts of a machine")
        elif path.name != JOB:
            one = read_part(path, PieceShape, "a piece")
            if one["job"] != header["job"] or one["key"] != path.stem:
                raise StoreError(f"{path}: expected a piece of job {header['job'][:8]}, found one of another")
            found.done[one["key"]] = {key: one[key] for key in ("seed", "machine", "started", "seconds", "found")}
    return found


def read_part(path: Path, shape: type[BaseModel], what: str) -> Plain:
    content = stored_bytes(path, MOST_JSON, f"the directory of {what}" if path.name == JOB else what)
    value = json_value(path, content)
    again = "" if path.name == JOB else "; without the file it is run again"
    if wrong := trouble_by(shape, value):
        raise StoreError(f"{path}: expected {what}, found at {wrong}{again}")
    if value.pop("sum") != digest_of(value):
        raise StoreError(f"{path}: expected {what} as it was stored, found it changed{again}")
    return dict(value)


def unlike(one: Plain, other: Plain, but: Sequence[str] = ()) -> str:
    """What keeps pieces of these two jobs from being put together, in one line, "" where nothing does. Their subjects
    may differ in some words.
    """
    for key in ("verb", "version", "kernels", "commit"):
        if one[key] != other[key]:
            return f"expected pieces of {key} {one[key]}, found {other[key]}: they do not belong together"
    mine, others = one["subject"], other["subject"]
    differing = [key for key in dict.fromkeys((*mine, *others)) if mine.get(key) != others.get(key) and key not in but]
    return f"expected pieces of one job, found another {' and '.join(differing)}" if differing else ""
