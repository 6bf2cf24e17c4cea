"""Who waits for whom where nobody comes to an end or a goal any more: told by what each goes on to look at in vain."""

from collections.abc import Collection

from kernels.story.events import Event
from kernels.story.narrate import Narrator

ROUNDS = 200  # a step of each actor; whoever waits has gone round by half of them


def waits(narrator: Narrator) -> tuple[str, ...]:
    """Lines such as `zapper 0 waits for vcpu 0 at srcu[vcpu 0] = inside, awaited`: a word that nobody else changes
    while an actor looks at it again and again, and the other one who has changed it last, or whose it is.

    The narrator's schedule ends where there is no progress; everybody takes steps in turn from there, the first way of
    each choice.
    """
    run, begun = narrator.run, len(narrator.run.taken)
    for _ in range(ROUNDS):
        for actor in run.actors:
            if run.site(actor) is not None:
                narrator.step(actor, 0)
    events = narrator.story().events
    goals = {name for name, steps in run.protocol.steps.items() if steps.goal}
    tail = events[(begun + len(events)) // 2 :]
    told: dict[str, None] = {}
    for actor in run.actors:
        its = [event for event in tail if event.actor == actor]
        if not any(goals.intersection(event.calls) for event in its):
            told |= dict.fromkeys(_lines(actor, its, events, tail, run.actors))
    return tuple(told)


def _lines(
    actor: str, its: list[Event], events: tuple[Event, ...], tail: tuple[Event, ...], actors: Collection[str]
) -> list[str]:
    looked = {event.access.word: event.access.after for event in its if event.access is not None}
    moving = {
        event.access.word
        for event in tail
        if event.access is not None and event.access.changed and event.actor != actor
    }
    of = {word: word.partition("[")[2].rstrip("]") for word in looked}
    by = {
        event.access.word: event.actor
        for event in events
        if event.access is not None and event.access.changed and event.actor != actor
    }
    return [
        f"{actor} waits for {by.get(word, of[word])} at {word} = {reading}"
        for word, reading in looked.items()
        if word not in moving and (word in by or of[word] in {*actors} - {actor})
    ]
