"""From moves to a story: the schedule runs once more, in Python, and every step says what it did.

The step machines are those of `kernels.search.schedule`, interpreted: same labels, same registers, the same words after
every step. What a step did is read off the words before and behind it and off the tally, so nothing here decides
anything.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.language.syntax import Site
from kernels.language.syntax import sites as all_sites
from kernels.layout import OUTCOME_COUNTS, Layout, Word, row_at
from kernels.protocol import Protocol
from kernels.search.schedule import Schedule, interpreted_machines
from kernels.story.events import RETURNED, Access, Event, Held, Story, Turn
from kernels.story.spans import gathered


class Narrator:
    """A schedule that tells what it does. `run` is the schedule itself, `events` what has happened so far."""

    def __init__(self, protocol: Protocol, rules: Any, size: Any) -> None:
        self.run = Schedule(protocol, rules, size, made=interpreted_machines(protocol))
        lay = self.run.lay
        self._rows = [_row_at(lay, word) for word in range(lay.state_words)]
        self._begun = self.state().copy()
        self._outcomes = len(protocol.outcomes)
        self._says = protocol.telling.says
        self.events: list[Event] = []

    def state(self) -> NDArray[np.int64]:
        """The words of the protocol's state, places in the code included: all that decides what can happen next."""
        return self.run.words[: self.run.lay.state_words]

    def step(self, actor: str, chosen: int = 0) -> Event:
        """Take one step and tell it. Raises KeyError, ValueError where there is no such actor or no such step."""
        calls = self.run.calls(actor)
        before = self.state().copy()
        counted = self._counts(actor).copy()
        site = self.run.step(actor, chosen)
        word = self.run.touched
        more = self._counts(actor) - counted
        leaf, status = self._status(more)
        outcomes = self.run.protocol.outcomes
        event = Event(
            actor=actor,
            chosen=chosen,
            name=site.name,
            function=site.function,
            text=site.text,
            file=site.file,
            line=site.line,
            calls=calls,
            access=None if word is None else self._access(word, before),
            own=tuple(self._own(word, before)),
            leaf=leaf,
            status=status,
            outcomes=tuple(
                outcomes(int(place)).name for place in np.flatnonzero(more[OUTCOME_COUNTS:][: self._outcomes])
            ),
            says=_way(site, chosen) if word is None else self._says(self.run, site, actor, word),
        )
        self.events.append(event)
        return event

    def story(self) -> Story:
        """What has happened so far, as a value."""
        run = self.run
        sites = {name: run.site(name) for name in run.actors}
        ahead = {name: (run.calls(name), site.name, self._next_word(name)) for name, site in sites.items() if site}
        spans, deeds = gathered(run.protocol.steps, self.events, ahead)
        return Story(
            actors=run.actors,
            events=tuple(self._told()),
            spans=spans,
            deeds=deeds,
            held=tuple(self._held()),
            stands={name: str(site or RETURNED) for name, site in sites.items()},
            outcomes=tuple(dict.fromkeys(outcome for event in self.events for outcome in event.outcomes)),
            state_sha256=state_sha256(self.state()),
        )

    def _counts(self, actor: str) -> NDArray[np.int64]:
        """The head of the actor's tally up to its statuses."""
        at, statuses = self.run.actor(actor).tally, self.run.protocol.telling.statuses
        end = statuses.at + len(statuses.calls) * statuses.each if statuses else OUTCOME_COUNTS + self._outcomes
        return self.run.words[at : at + end]

    def _status(self, more: NDArray[np.int64]) -> tuple[str, str]:
        """The call that ended, and how, by name; empty where none did."""
        if statuses := self.run.protocol.telling.statuses:
            for place in np.flatnonzero(more[statuses.at :]):
                call, status = divmod(int(place), statuses.each)
                return statuses.calls[call], statuses.names[status]
        return "", ""

    def _access(self, word: int, before: NDArray[np.int64]) -> Access:
        (row, name), old, new = self._rows[word], int(before[word]), int(self.run.words[word])
        return Access(name, old, new, row.reads(old), row.reads(new))

    def _own(self, touched: int | None, before: NDArray[np.int64]) -> Iterator[Access]:
        for word in np.flatnonzero(self.state() != before):
            if word != touched and not self._rows[word][0].place:
                yield self._access(int(word), before)

    def _held(self) -> Iterator[Held]:
        for word, (row, name) in enumerate(self._rows):
            if not row.place:
                value = int(self.run.words[word])
                yield Held(name, value, row.reads(value), value != int(self._begun[word]))

    def _told(self) -> Iterator[Event]:
        """The events, those that turn to somebody with the name: the actor's next step shows who it was."""
        turns = {site.name: site.says for site in all_sites() if isinstance(site.says, Turn)}
        after: dict[str, str] = {}
        told = []
        for event in reversed(self.events):
            on = after.get(event.actor)
            if turn := turns.get(event.name):
                known = on is not None and on.startswith(f"{turn.kind} ")
                event = replace(event, says=f"turns to {on}" if known else turn.unknown if on is None else turn.none)
            after[event.actor] = event.access.word.partition("[")[2].partition("]")[0] if event.access else ""
            told.append(event)
        return reversed(told)

    def _next_word(self, actor: str) -> str:
        """The word of the step ahead as far as a wait for it goes: an actor that waits looks at the same word again."""
        last = next((event for event in reversed(self.events) if event.actor == actor and event.access), None)
        return last.access.word if last and last.access else ""


def _way(site: Site, chosen: int) -> str:
    """What a choice says that went this way."""
    ways = site.says
    return "" if isinstance(ways, Turn) or not ways else ways[min(chosen, len(ways) - 1)].format(chosen)


def _row_at(lay: Layout, word: int) -> tuple[Word, str]:
    found = row_at(lay, word)
    assert found is not None, f"word {word} of a state is no protocol's"
    return found


def narrate(protocol: Protocol, rules: Any, moves: Iterable[Any], size: Any) -> Story:
    """The story of these moves, each with an `actor` and a `chosen`. Raises KeyError, ValueError as `Narrator.step`."""
    narrator = Narrator(protocol, rules, size)
    for move in moves:
        narrator.step(move.actor, move.chosen)
    return narrator.story()


def state_sha256(state: NDArray[np.int64]) -> str:
    """Names a state, on any machine."""
    return hashlib.sha256(state.astype("<i8").tobytes()).hexdigest()
