"""Random schedules of a machine that is too large to search: uniform, or by priorities that change (PCT).

PCT (Burckhardt et al., ASPLOS 2010): every actor gets a random priority, the highest that can move does, and at d - 1
random steps of the schedule the one in front falls behind all others. Some actors run for ever, waits are loops: so
here an actor also falls behind when its step changes nothing, and an endless one wherever the protocol says it rests.

The paper's bound, a bug of d ordered steps seen with a chance of at least 1 / (n k**(d - 1)) a schedule of n actors and
at most k steps, does not hold for that, and none is given. Who fell behind at a random step is in front again once all
others have waited. There is no k: random steps are drawn up to the longest schedule that has finished so far. And the
choices inside an actor, of a page or of a tick, are drawn as well.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.language.compile import words_of
from kernels.language.entered import words_with_room
from kernels.language.machine import DONE
from kernels.protocol import Protocol
from kernels.race.tally import xorshift
from kernels.search.breadth_first import Progress, schedule_of
from kernels.search.moves import choices_of, move, noted
from kernels.search.saying import rests
from kernels.search.schedule import Move, Schedule
from kernels.search.tables import compile_search, make_plan

LONGEST = 20_000  # steps of a schedule
SHORTEST_WATCH_S = 0.2


def below(random, count):
    """A number below `count`, from the upper half of the random bits."""
    return ((random >> 20) & 0xFFFFFFFF) * count >> 32


def walk_once(plan, td, lay, rules, start, seed, changes, steps, most, shown, priorities):
    """One schedule from `start` on: until all have returned that come to an end, or `most` steps.

    `changes`: the steps at which the actor in front falls behind, ascending; for uniform choice the first is -1.
    `steps` takes the moves, an actor << 32 and a number each; `shown[outcome]` the count of steps after which it was
    first seen. Returns how many steps.
    """
    everybody = plan.endless + plan.ending
    for word in range(lay.state_words):
        td[word] = start[word]
    random = seed
    uniform = changes[0] == -1
    for actor in range(everybody):
        random = xorshift(random)
        priorities[actor] = (random >> 20) & 0xFFFFFFFF
    taken, change, lowest, bits = 0, 0, 0, 0
    while taken < most:
        alive = False
        for ending in range(plan.endless, everybody):
            alive |= td[plan.pc[ending]] != DONE
        if not alive:
            break
        actor = -1
        if uniform:
            while actor < 0 or td[plan.pc[actor]] == DONE:
                random = xorshift(random)
                actor = below(random, everybody)
        else:
            for one in range(everybody):
                if td[plan.pc[one]] != DONE and (actor < 0 or priorities[one] > priorities[actor]):
                    actor = one
        random = xorshift(random)
        ways = choices_of(plan, td, lay, rules, actor)
        number = below(random, ways)
        begin, stop = plan.start[actor], plan.stop[actor]
        before = 0
        for word in range(begin, stop):
            before = before * 31 + td[word]
        word, _ = move(plan, td, lay, rules, actor, number)
        steps[taken] = (actor << 32) | number
        taken += 1
        seen = noted(plan, td) & ~bits
        bits |= seen
        if seen:
            for outcome in range(plan.outcomes):
                if (seen >> outcome) & 1:
                    shown[outcome] = taken
        after = 0
        for at in range(begin, stop):
            after = after * 31 + td[at]
        left = actor < plan.endless and word >= 0 and rests(lay, actor, word, td[word])
        due = not uniform and changes[change] <= taken  # two that fall on one step follow each other
        if not uniform and (due or before == after or left):
            lowest -= 1
            priorities[actor] = lowest
            change += due
    return taken


@dataclass(frozen=True, slots=True)
class Walks:
    """What random schedules showed: by outcome, how many did and the shortest of them.

    `unfinished`: schedules that were cut off; `longest` the steps of the longest other one.
    """

    size: Any
    schedules: int
    steps: int
    longest: int
    seconds: float
    seed: int
    depth: int | None
    outcomes: dict[str, tuple[int, tuple[Move, ...]]]
    unfinished: int


def walk(
    protocol: Protocol,
    rules: Any,
    size: Any,
    *,
    schedules: int,
    seed: int,
    depth: int | None = None,
    watch: Callable[[Progress], bool] | None = None,
) -> Walks:
    """Run so many schedules; the same seed gives the same ones.

    `depth` None chooses uniformly, else by PCT for bugs of that depth, from 1. `watch` is called some times a second
    with the schedules run as `states`; its False ends it. Raises ValueError for a depth below 1.
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth: expected 1 or more, found {depth}")
    start = Schedule(protocol, protocol.searched(rules), size)
    plan = make_plan(start, symmetry=False, reduction=False)
    run = compile_search(protocol, "walk", walk_once).walk_once
    at, records = words_of(plan), (words_of(start.lay), words_of(start.rules))
    random = np.random.default_rng(seed)
    words, steps = words_with_room(start.lay.total_words), np.empty(LONGEST, np.int64)
    priorities = np.empty(len(start.actors), np.int64)
    best: dict[int, tuple[int, int, np.ndarray]] = {}
    done = total = unfinished = longest = 0
    begun = watched = time.monotonic()
    while done < schedules:
        shown = np.zeros(plan.outcomes, np.int64)
        changes = _changes(random, depth, longest or LONGEST)
        drawn = int(random.integers(1, 1 << 62))
        taken = int(run(at, words, *records, start.words, drawn, changes, steps, LONGEST, shown, priorities))
        done, total, unfinished = done + 1, total + taken, unfinished + (taken == LONGEST)
        longest = longest if taken == LONGEST else max(longest, taken)
        for outcome in np.flatnonzero(shown):
            count, shortest, kept = best.get(int(outcome), (0, LONGEST + 1, steps))
            if shown[outcome] < shortest:
                shortest, kept = int(shown[outcome]), steps[: shown[outcome]].copy()
            best[int(outcome)] = count + 1, shortest, kept
        now = time.monotonic()
        if watch is not None and now - watched > SHORTEST_WATCH_S:
            watched = now
            if not watch(Progress(done, total, longest, schedules - done, now - begun)):
                break
    return Walks(
        size=size,
        schedules=done,
        steps=total,
        longest=longest,
        seconds=time.monotonic() - begun,
        seed=seed,
        depth=depth,
        outcomes={
            protocol.outcomes(number).name: (
                count,
                schedule_of(start, ((s >> 32, s & 0xFFFFFFFF) for s in kept.tolist()), False),
            )
            for number, (count, _, kept) in sorted(best.items())
        },
        unfinished=unfinished,
    )


def _changes(random: np.random.Generator, depth: int | None, longest: int) -> np.ndarray:
    """The steps at which the actor in front falls behind, ascending, with an end that never comes."""
    if depth is None:
        return np.array([-1], np.int64)
    return np.append(np.sort(random.integers(1, longest + 1, depth - 1)), np.iinfo(np.int64).max)
