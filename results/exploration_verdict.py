"""The verdict on one explored ordering and the exit code of a whole exploration: pure, from the numbers of the JSON.

An exploration is a dict as `results.exploration.record` makes it. What can happen once can happen: a forbidden outcome
fails a safe ordering however rare its schedule is. What was not looked at is never safe: a search that did not end, and
random schedules, can find a fault and cannot exclude one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from results.grades import FAILING, Grade, grade_of
from results.verdict import Judgement, Verdict, exit_code_of, is_safe
from results.wording import plural

Exploration = Mapping[str, Any]

INTERRUPT, MEMORY, FIRST = "interrupt", "memory", "first"
STOPPED = {
    INTERRUPT: "was interrupted",
    MEMORY: "ran out of the memory that it may use",
    FIRST: "stopped at the first forbidden outcome",
}
# The outcome that a broken invariant is, where there is one of that meaning.
INVARIANT_OUTCOMES = {
    "refcounts_add_up": "refcount_broken",
    "mirror_in_step": "mirror_disagrees",
    "one_owner": "two_owners",
}
# A vCPU or a zapper that can never go on, and references that are lost, fail a known-wrong ordering too, unless it is
# known for just that; with a fault switched on references may well be lost.
GRAVE = frozenset({"no_progress", "refcount_broken"})


def is_sampled(exploration: Exploration) -> bool:
    """Whether schedules were drawn at random instead of all being taken."""
    return bool(exploration["method"] != "exhaustive")


def failing(exploration: Exploration) -> dict[str, int]:
    """Everything forbidden or unknown that was reached, invariants included, with the steps of its shortest schedule;
    the shortest first.
    """
    steps = exploration["witness_steps"]
    bad = [name for name in exploration["outcomes"] if grade_of(name) in FAILING]
    bad += [name for name in exploration["broken"] if INVARIANT_OUTCOMES.get(name) not in bad]
    return dict(sorted(((name, steps[name]) for name in bad), key=lambda found: (found[1], found[0])))


def size_words(exploration: Exploration) -> str:
    """`2 vCPUs, 1 zapper, 1 page, 1 TLB entry, 1 shootdown`; a zapper each where there are several."""
    entries = "1 TLB entry" if exploration["tlb_entries"] == 1 else f"{exploration['tlb_entries']} TLB entries"
    shootdowns = plural(exploration["shootdowns"], "shootdown") + (" each" if exploration["zappers"] > 1 else "")
    parts = [
        plural(exploration[key], word) for key, word in (("vcpus", "vCPU"), ("zappers", "zapper"), ("pages", "page"))
    ]
    return ", ".join([*parts, entries, shootdowns])


def larger(exploration: Exploration) -> str:
    """The options of the next larger machine that may show more: two zappers first, each with a page of its own."""
    vcpus, zappers, pages = exploration["vcpus"], exploration["zappers"], exploration["pages"]
    if zappers == 1:
        return "--zappers 2" + (" --pages 2" if pages == 1 else "")
    if pages < zappers:
        return f"--pages {zappers}"
    if vcpus == 1:
        return "--vcpus 2"
    return "--shootdowns 2" if exploration["shootdowns"] == 1 else f"--vcpus {vcpus + 1}"


def looked_at(exploration: Exploration) -> str:
    """How much was looked at: `81,234 states`, `1,000 random schedules`."""
    if is_sampled(exploration):
        return plural(exploration["schedules"], "random schedule")
    return plural(exploration["states"], "state")


def judge_exploration(exploration: Exploration) -> Judgement:
    """The verdict on one ordering, with its reason."""
    bad = failing(exploration)
    if not is_safe(exploration):
        return _judge_known_wrong(exploration, bad)
    if bad:
        return Judgement(Verdict.failed, f"declared safe, and can happen: {_with_steps(bad)}")
    if not exploration["complete"]:
        return Judgement(
            Verdict.inconclusive, f"nothing forbidden in {looked_at(exploration)}, {_why_open(exploration)}"
        )
    aside = "" if exploration["liveness"] is not None else "; livelocks were not looked for"
    return Judgement(Verdict.passed, f"nothing forbidden can happen in all {looked_at(exploration)}{aside}")


def _judge_known_wrong(exploration: Exploration, bad: Mapping[str, int]) -> Judgement:
    expected = list(exploration["expect"])
    right = exploration.get("otherwise_safe", False)
    undeclared = {
        name: steps for name, steps in bad.items() if name not in expected and (right or _is_grave(name, exploration))
    }
    if undeclared:
        return Judgement(Verdict.failed, f"can happen, and nobody declared it: {_with_steps(undeclared)}")
    missing = [name for name in expected if name not in bad]
    if not missing:
        return Judgement(Verdict.passed, f"caught: {_with_steps({name: bad[name] for name in expected})}")
    known = f"known for {', '.join(missing)}, which"
    if exploration["complete"]:
        where = f"cannot happen in a machine of this size ({size_words(exploration)})"
        return Judgement(Verdict.failed, f"{known} {where}; try {larger(exploration)}")
    return Judgement(
        Verdict.inconclusive, f"{known} did not show in {looked_at(exploration)}, {_why_open(exploration)}"
    )


def _is_grave(name: str, exploration: Exploration) -> bool:
    grave = GRAVE - {"refcount_broken"} if exploration["faults"] else GRAVE
    return name in grave or grade_of(name) == Grade.unknown


def _why_open(exploration: Exploration) -> str:
    if exploration["stopped_by"]:
        return f"but the search {STOPPED[exploration['stopped_by']]}"
    return "which prove nothing"


def _with_steps(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} in {plural(steps, 'step')}" for name, steps in found.items())


def exploration_exit_code(explorations: Sequence[Exploration]) -> int:
    """The exit code of a whole exploration."""
    interrupted = any(exploration["stopped_by"] == INTERRUPT for exploration in explorations)
    return exit_code_of((judge_exploration(one).verdict for one in explorations), interrupted=interrupted)
