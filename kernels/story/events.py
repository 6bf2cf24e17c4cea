"""A schedule told: what each step did, to which word, and which call it was part of. Values only, nothing runs here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RETURNED = "has returned"


class Kind(StrEnum):
    """What a stretch of an actor's time is."""

    shootdown = "shootdown"  # a zapper: from the page's claim to the end of its steps
    seamcall = "seamcall"
    tdcall = "tdcall"
    guest = "guest"  # a vCPU between TDH.VP.ENTER and TD exit
    exit = "exit"  # a vCPU behind it: TD exit, OUTSIDE_GUEST_MODE, the IPI acknowledged
    kick = "kick"
    wait = "wait"  # for a lock, the gate or an acknowledgement
    host = "host"  # KVM's own work


@dataclass(frozen=True, slots=True)
class Turn:
    """What a choice says that turns to an actor of a kind, whom the next step shows: before that, and if it is none."""

    kind: str  # "vcpu"
    unknown: str
    none: str


@dataclass(frozen=True, slots=True)
class Access:
    """A word by name, its value before and after, and both as its row of `kernels.layout` says them."""

    word: str
    old: int
    new: int
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether the step wrote another value."""
        return self.old != self.new


@dataclass(frozen=True, slots=True)
class Event:
    """One step as it happened.

    `access` is the one word that the step touches, None for a choice; `own` are the actor's own words that its private
    work changed behind it. `calls` are the functions of steps that led there, outermost first. `leaf` and `status` say
    which SEAMCALL or TDCALL ended in this step and how. `says` is a phrase for a choice or a read, else empty.
    """

    actor: str
    chosen: int
    name: str
    function: str
    text: str
    file: str
    line: int
    calls: tuple[str, ...]
    access: Access | None
    own: tuple[Access, ...]
    leaf: str
    status: str
    outcomes: tuple[str, ...]
    says: str

    @property
    def label(self) -> str:
        """The step as the source has it: `mem_track: load_acquire epoch_tracking`."""
        return f"{self.function}: {self.text}"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one actor's time, in steps of the schedule: from step `start` up to, not including, `end`.

    Spans of one actor nest: `depth` 0 is outermost. `whole` is false where the schedule ends before the stretch does.
    """

    actor: str
    name: str
    kind: Kind
    start: int
    end: int
    depth: int
    whole: bool = True
    status: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A word of the state at the end, and whether it differs from the start."""

    word: str
    value: int
    reading: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Story:
    """A schedule from its first step to its last.

    `deeds` has for each event the index of the span in `spans` that it is part of, the innermost one. `stands` is where
    each actor stands at the end: its next step, or RETURNED.
    """

    actors: tuple[str, ...]
    events: tuple[Event, ...]
    spans: tuple[Span, ...]
    deeds: tuple[int, ...]
    held: tuple[Held, ...]
    stands: dict[str, str]
    outcomes: tuple[str, ...]  # all that were noted, in the order in which they were
    state_sha256: str


@dataclass(frozen=True, slots=True)
class Statuses:
    """How calls end that have a status: names of calls and of statuses, and where in the head of a tally each status of
    each call is counted, `each` a call. `of_code` is the name of a status as a trace keeps it, `well` that of success.
    """

    at: int
    each: int
    calls: Mapping[Any, str]
    names: Mapping[Any, str]
    of_code: Callable[[int], str]
    well: str
