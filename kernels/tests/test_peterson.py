"""The engine on a protocol that is not TDX: explored, replayed, told and raced."""

import mmap
import os
from dataclasses import replace
from enum import IntEnum

import numpy as np
import pytest

from kernels.language.syntax import LanguageError, sites
from kernels.layout import DELAY_ODDS_SHIFT, GO, MAX_SITES, OUTCOME_COUNTS, SLEEPS, ActorKind, actors
from kernels.protocol import States
from kernels.race.lines import load
from kernels.race.straight import Variant
from kernels.search.explore import explore
from kernels.search.random_walk import walk
from kernels.search.schedule import Schedule
from kernels.story.narrate import narrate
from kernels.tests.peterson import PETERSON, THREAD, Outcome, Rules, Size

RIGHT, WRONG = Rules(), Rules(turn_first=1)
LEAVES = "thread.fetch_add_seq_cst_inside_2"
# Of a sleep before each step, in 65536, and its length in ns: the other comes by meanwhile, whoever else runs there.
ROUNDS, ODDS, LENGTHS = 1500, 1 << 14, (10_000, 100_000)
# Where the turn is given first: thread 1 raises its flag and enters before thread 0 raises its own, and the turn is
# thread 0's.
BOTH_INSIDE = [0, 1, 1, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("rules", "folded", "numbers", "lengths"),
    [
        (RIGHT, False, (58, 98, 12), {"passed": 4}),
        (RIGHT, True, (31, 53, 12), {"passed": 4}),
        (WRONG, False, (107, 184, 12), {"passed": 4, "both_inside": 9}),
        (WRONG, True, (54, 93, 12), {"passed": 4, "both_inside": 9}),
        (RIGHT._replace(rounds=2), False, (210, 384, 24), {"passed": 4}),
        (WRONG._replace(rounds=2), True, (203, 377, 24), {"passed": 4, "both_inside": 9}),
    ],
)
def test_every_interleaving_is_seen_and_only_the_wrong_twin_lets_both_in(rules, folded, numbers, lengths):
    found = explore(PETERSON, rules, Size(), symmetry=folded, threads=1)

    assert found.complete
    assert (found.states, found.transitions, found.depth) == numbers
    assert {name: len(moves) for name, moves in found.outcomes.items()} == lengths
    assert found.deadlocks == 0
    assert found.liveness is not None
    assert (found.liveness.livelocks, found.liveness.refused) == (0, None)


def test_a_thread_that_waits_for_one_that_never_comes_is_no_progress():
    """The other's flag stays up, and nobody gives the turn."""
    run = Schedule(PETERSON, RIGHT, Size())
    run.until("thread 0", "lock.load_seq_cst_flag")
    run.until("thread 1", "lock.load_seq_cst_flag")

    assert run.words[run.lay.turn] == 0
    for _ in range(4):
        run.step("thread 1")
    assert str(run.site("thread 1")).startswith("lock: load_seq_cst flag (kernels/tests/peterson.py:")


def test_random_schedules_show_the_same():
    assert walk(PETERSON, RIGHT, Size(), schedules=200, seed=1).outcomes.keys() == {"passed"}
    assert walk(PETERSON, WRONG, Size(), schedules=200, seed=1).outcomes.keys() == {"passed", "both_inside"}


@pytest.mark.parametrize(("rules", "inside"), [(RIGHT, 1), (WRONG, 2)])
def test_a_schedule_is_replayed_word_for_word(rules, inside):
    run, most = Schedule(PETERSON, rules, Size()), 0
    for thread in (*BOTH_INSIDE, *[0, 1] * 12):
        if run.site(f"thread {thread}"):
            run.step(f"thread {thread}")
            most = max(most, int(run.words[run.lay.inside]))

    assert most == inside
    assert not any(run.site(name) for name in run.actors)


def test_the_witness_is_told_in_the_protocols_words():
    witness = explore(PETERSON, WRONG, Size(), symmetry=False, threads=1).outcomes["both_inside"]
    story = narrate(PETERSON, WRONG, witness, Size())

    accesses = [(event, event.access) for event in story.events if event.access]
    assert [(event.actor, event.text, access.before, access.after) for event, access in accesses] == [
        ("thread 0", "store_seq_cst turn", "thread 0's", "thread 1's"),
        ("thread 1", "store_seq_cst turn", "thread 1's", "thread 0's"),
        ("thread 1", "store_seq_cst flag", "stays out", "wants in"),
        ("thread 1", "load_seq_cst flag", "stays out", "stays out"),
        ("thread 0", "store_seq_cst flag", "stays out", "wants in"),
        ("thread 0", "load_seq_cst flag", "wants in", "wants in"),
        ("thread 1", "fetch_add_seq_cst inside", "0", "1"),
        ("thread 0", "load_seq_cst turn", "thread 0's", "thread 0's"),
        ("thread 0", "fetch_add_seq_cst inside", "1", "2"),
    ]
    assert story.outcomes == ("passed", "both_inside")
    assert [(span.actor, span.name, span.start, span.end) for span in story.spans if span.depth] == [
        ("thread 0", "takes the lock", 0, 8),
        ("thread 1", "takes the lock", 1, 4),
    ]
    assert story.stands == {
        name: str(site) for name in ("thread 0", "thread 1") for site in sites() if site.name == LEAVES
    }


def raced(rules: Rules, *, odds: int) -> tuple[int, int]:
    """Both threads as processes on one CPU over one mapping: how often one passed, and how often both were inside."""
    rules = rules._replace(rounds=ROUNDS, shared_cpus=1)
    run, lay = load(PETERSON, Variant(perturbed=True))["thread"], PETERSON.plan(rules, Size())
    words = np.frombuffer(mmap.mmap(-1, 8 * lay.total_words), np.int64)
    PETERSON.prepare(words, lay, rules, 1)
    for site in (one for one in sites() if one.function in PETERSON.steps):
        at = lay.perturb + site.number
        words[at], words[at + MAX_SITES], words[at + 2 * MAX_SITES] = SLEEPS | odds << DELAY_ODDS_SHIFT, *LENGTHS
    pids, cpu = [], min(os.sched_getaffinity(0))
    for _, _, me in actors(lay):
        if (pid := os.fork()) == 0:
            os.sched_setaffinity(0, {cpu})
            while not words[lay.control + GO]:
                os.sched_yield()
            run(words, lay, rules, me)
            os._exit(0)
        pids.append(pid)
    words[lay.control + GO] = 1

    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert words[lay.inside] == 0
    counts = [words[me.tally + OUTCOME_COUNTS :][: len(Outcome)] for _, _, me in actors(lay)]
    passed, both = np.sum(counts, axis=0)
    return int(passed), int(both)


@pytest.mark.processes
def test_two_processes_race_and_only_the_wrong_twin_lets_both_in():
    """Chance: some 40 of 3,000 entries of the wrong twin find the other inside: none in one race of 10**15."""
    assert raced(RIGHT, odds=ODDS) == (2 * ROUNDS, 0)

    passed, both = raced(WRONG, odds=ODDS)
    assert passed + both == 2 * ROUNDS
    assert both > 0


def test_more_findings_than_have_a_bit_are_refused():
    many = IntEnum("Outcome", [f"outcome_{number}" for number in range(63)], start=0)  # type: ignore[misc]

    with pytest.raises(ValueError, match="expected at most 63 outcomes, invariants and a deadlock, found 64"):
        explore(replace(PETERSON, outcomes=many), RIGHT, Size())


def test_a_word_that_names_an_actor_is_renamed_where_actors_are_folded():
    unsaid = replace(PETERSON, states=States(folds=True))

    with pytest.raises(LanguageError, match="turn names a thread, and `renamed` does not say what it is renamed"):
        explore(unsaid, RIGHT, Size())
    assert explore(unsaid, RIGHT, Size(), symmetry=False).states == 58


def test_actors_are_the_kinds_of_the_words():
    with pytest.raises(ValueError, match="actors: expected the kinds of the words in their order, endless ones first"):
        replace(PETERSON, actors={ActorKind("other"): PETERSON.actors[THREAD]})
