"""What actors are doing: the steps of a schedule gathered into stretches of time. What one is called stands at the
function of steps in which it is spent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kernels.language.syntax import Steps
from kernels.story.events import Event, Kind, Span


class Deed(NamedTuple):
    """A stretch of time before it has ends. Two steps side by side with equal keys are part of one.

    `key` and `name` may name the word that is touched as {word}, and who it is of as {actor}. `then`: a status with
    which it may end, and the stretch that begins there. `outermost`: it is one only where an actor itself calls it.
    """

    key: str
    name: str
    kind: Kind
    then: tuple[str, "Deed"] | None = None  # type: ignore[misc]
    outermost: bool = False


def host(key: str, name: str) -> Deed:
    """The host's own work."""
    return Deed(key, name, Kind.host)


def wait(key: str, name: str) -> Deed:
    """For a lock, a gate or an acknowledgement."""
    return Deed(key, name, Kind.wait)


Known = Mapping[str, Steps]


def path(known: Known, calls: tuple[str, ...], name: str, word: str) -> list[Deed]:
    """The stretches that a step is part of, outermost first; `name` is the site's, `known` are functions by name."""
    functions = [known[call] for call in calls]
    found = [
        deed
        for depth, function in enumerate(functions)
        if (deed := function.span) and (not deed.outermost or (depth == 1 and len(calls) == 2))
    ]
    own = functions[-1].at.get(name.partition(".")[2]) if functions else None
    if own is not None:
        said = {"word": word, "actor": word.partition("[")[2].rstrip("]")}
        found.append(own._replace(key=own.key.format(**said), name=own.name.format(**said)))
    return found


@dataclass(slots=True)
class _Open:
    """A stretch that has begun: its place among the spans, and the name of its first step."""

    deed: Deed
    place: int
    start: int
    depth: int
    first: str


class Gatherer:
    """Takes events one by one; `spans` is complete once `finish` was called."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.spans: list[Span] = []
        self.deeds: list[int] = []
        self._open: dict[str, list[_Open]] = {}
        self._behind: dict[str, int] = {}  # where the actor's last step ended

    def add(self, event: Event) -> None:
        """The next step of the schedule."""
        here, now = len(self.deeds), self._open.setdefault(event.actor, [])
        deeds = path(self._known, event.calls, event.name, event.access.word if event.access else "")
        if not deeds:
            deeds = [Deed(event.function, event.function, Kind.host)]
        self._close(event.actor, self._shared(now, deeds, event.name), here)
        for deed in deeds[len(now) :]:
            self._begin(event, deed, here)
        self.deeds.append(now[-1].place)
        self._behind[event.actor] = here + 1
        if event.status and now[-1].deed.name == event.leaf:
            then = now[-1].deed.then
            self._end(event.actor, here + 1, event.status)
            if then and event.status == then[0]:
                self._begin(event, then[1], here + 1)

    def finish(self, ahead: dict[str, tuple[tuple[str, ...], str, str]]) -> None:
        """The schedule is over. `ahead`: calls, site name and word of the next step of all who have not returned."""
        end = len(self.deeds)
        for actor, now in self._open.items():
            deeds = path(self._known, *ahead[actor]) if actor in ahead else []
            self._close(actor, self._shared(now, deeds), end)
            for opened in now:
                self._put(opened, actor, end, whole=False)

    def _shared(self, now: list[_Open], deeds: list[Deed], name: str = "") -> int:
        """How many of the stretches that are open go on: a SEAMCALL that is back at its first step, which is that of
        this name, is another one.
        """
        shared = 0
        for opened, deed in zip(now, deeds, strict=False):
            again = deed.kind in (Kind.seamcall, Kind.tdcall) and opened.first == name
            if opened.deed.key != deed.key or again:
                break
            shared += 1
        return shared

    def _begin(self, event: Event, deed: Deed, at: int) -> None:
        now = self._open[event.actor]
        # What is waited for was waited for since the step before.
        start = max(self._behind.get(event.actor, at), now[-1].start if now else 0) if deed.kind is Kind.wait else at
        now.append(_Open(deed, len(self.spans), start, len(now), event.name))
        self.spans.append(Span(event.actor, deed.name, deed.kind, start, start, len(now) - 1))

    def _close(self, actor: str, keep: int, here: int) -> None:
        """End what is open above the first `keep`; a stay in the guest lasts until the step that ends it."""
        now = self._open.get(actor, [])
        while len(now) > keep:
            self._end(actor, here if now[-1].deed.kind is Kind.guest else self._behind[actor])

    def _end(self, actor: str, end: int, status: str = "") -> None:
        self._put(self._open[actor].pop(), actor, end, status=status)

    def _put(self, opened: _Open, actor: str, end: int, *, whole: bool = True, status: str = "") -> None:
        deed = opened.deed
        self.spans[opened.place] = Span(
            actor, deed.name, deed.kind, opened.start, end, opened.depth, whole=whole, status=status
        )


def gathered(
    known: Known, events: Sequence[Event], ahead: dict[str, tuple[tuple[str, ...], str, str]]
) -> tuple[tuple[Span, ...], tuple[int, ...]]:
    """All spans, in the order in which they begin, and for each event the innermost one that it is part of."""
    gatherer = Gatherer(known)
    for event in events:
        gatherer.add(event)
    gatherer.finish(ahead)
    return tuple(gatherer.spans), tuple(gatherer.deeds)
