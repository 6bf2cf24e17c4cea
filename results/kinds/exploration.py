"""What an exploration found, as JSON, with its verdict and caveats: an entry an ordering, and a document of them. Pure.

`outcomes` names every outcome that was reached, `witness_steps` the length of a shortest schedule to each, `witnesses`
the schedules to what is forbidden or unknown. What stands under `broken` are invariants that a reached state breaks.
Only an exhaustive search has states; only random schedules have `schedules`, `schedules_with` and a seed.

What can happen once can happen: a forbidden outcome fails a safe ordering however rare its schedule is. What was not
looked at is never safe: a search that did not end, and random schedules, can find a fault and cannot exclude one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernels.tdx.outcomes import Grade, Outcome
from results.caveats import Caveat, alone, caveat, undeclared
from results.numbers.statistics import would_have_caught
from results.verdict import FAILING, Judgement, Verdict, exit_code_of, grade_of, is_safe
from results.words import count, machine_size, plural, share

Exploration = Mapping[str, Any]
INTERRUPT, MEMORY, FIRST = "interrupt", "memory", "first"
# By what stopped a search: the caveat, what is said of it, and what to try.
STOPPED = {
    MEMORY: (
        "out_of_memory",
        "ran out of the memory that it may use",
        "more --memory, a smaller machine, or --random 10000",
    ),
    INTERRUPT: ("interrupted", "was interrupted", "a search to its end, or a smaller machine"),
    FIRST: ("stopped_at_first", "stopped at the first forbidden outcome", "the same without --fail-fast"),
}
# The outcome that a broken invariant is, where there is one of that meaning.
INVARIANT_OUTCOMES = {
    "refcounts_add_up": "refcount_broken", "mirror_in_step": "mirror_disagrees", "one_owner": "two_owners",
}  # fmt: skip
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
    return ", ".join(machine_size(exploration, "pages", "tlb_entries", "shootdowns"))


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
    grave = GRAVE - {"refcount_broken"} if exploration["faults"] else GRAVE
    undeclared = {
        name: steps
        for name, steps in bad.items()
        if name not in expected and (right or name in grave or grade_of(name) == Grade.unknown)
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


def _why_open(exploration: Exploration) -> str:
    if exploration["stopped_by"]:
        return f"but the search {STOPPED[exploration['stopped_by']][1]}"
    return "which prove nothing"


def _with_steps(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} in {plural(steps, 'step')}" for name, steps in found.items())


def exploration_exit_code(explorations: Sequence[Exploration]) -> int:
    interrupted = any(exploration["stopped_by"] == INTERRUPT for exploration in explorations)
    return exit_code_of((judge_exploration(one).verdict for one in explorations), interrupted=interrupted)


# From here on the chance that two states were taken for one is worth a caveat.
LIKELY_MISS = 1e-6
MORE_SCHEDULES = "more schedules, another --seed, or every interleaving of a smaller machine, without --random"


def exploration_caveats(explorations: Sequence[Exploration]) -> list[Caveat]:
    """All caveats of these explorations; what holds for several is said once."""
    return [
        *_of_the_method(explorations), *_of_what_stopped(explorations), *_of_liveness(explorations),
        *alone(explorations, larger),
        *undeclared(_undeclared(explorations)),
    ]  # fmt: skip


def _of_the_method(explorations: Sequence[Exploration]) -> Iterator[Caveat]:
    for sampled in [one for one in explorations if is_sampled(one)][:1]:
        yield caveat("random_schedules", f"{looked_at(sampled)} of each ordering", _worth(sampled), MORE_SCHEDULES)
    for whole in [one for one in explorations if one["complete"]][:1]:
        yield caveat(
            "bounded",
            f"all of {size_words(whole)}, one atomic step at a time",
            "a larger machine, or memory that reorders, may show more",
            f"{larger(whole)}; `tdx-stress run` for the memory of this CPU",
        )
    risky = [one for one in explorations if not is_sampled(one) and (one["chance_of_miss"] or 0) > LIKELY_MISS]
    if risky:
        worst = max(risky, key=lambda one: one["chance_of_miss"])
        yield caveat(
            "fingerprints",
            f"two states of {worst['ordering']} share a fingerprint with a chance of {share(worst['chance_of_miss'])}",
            "a state, and what comes after it, may have been taken for one already seen",
            "a smaller machine",
        )


def _worth(exploration: Exploration) -> str:
    """What these schedules are worth: a rate, as PCT's own bound does not hold here (`kernels.search.random_walk`)."""
    caught = would_have_caught(exploration["schedules"])
    if caught is None:
        return "never a proof"
    rate = share(caught)
    if exploration["method"] == "pct":  # each is drawn by the length of those before it, so that they are not alike
        steps = plural(exploration["pct_depth"], "ordered step")
        return (
            f"never a proof: what each schedule shows with a chance of {rate} or more would have been seen (95 %); "
            f"PCT's bound for {steps} does not hold, as whoever waits falls behind too"
        )
    return f"never a proof: what shows in {rate} of such schedules or more would have been seen (95 %)"


def _of_what_stopped(explorations: Sequence[Exploration]) -> Iterator[Caveat]:
    for reason, (id_, said, advice) in STOPPED.items():
        if stopped := [one for one in explorations if one["stopped_by"] == reason]:
            how_far = f"the search {said}: {'; '.join(map(_how_far, stopped))}"
            yield caveat(id_, how_far, "what was not looked at may hold anything", advice)
    if unfinished := [f"{count(one['unfinished'])} of {one['ordering']}" for one in explorations if one["unfinished"]]:
        yield caveat(
            "unfinished_schedules",
            f"schedules that were cut off: {', '.join(unfinished)}",
            "a zapper was not done: what comes later in them was not looked at",
            "a smaller machine, or fewer --shootdowns",
        )


def _how_far(exploration: Exploration) -> str:
    left = "" if not exploration["frontier"] else f", {count(exploration['frontier'])} states still to expand"
    return f"{exploration['ordering']} after {looked_at(exploration)}{left}"


def _of_liveness(explorations: Sequence[Exploration]) -> Iterator[Caveat]:
    not_looked = [one for one in explorations if not is_sampled(one) and one["complete"] and one["liveness"] is None]
    if not_looked:
        # They were left out, or the graph of all states had no room.
        left_out, no_room = "the same without --no-liveness", "a smaller machine or more --memory"
        advice = dict.fromkeys(no_room if one.get("liveness_asked", True) else left_out for one in not_looked)
        yield caveat(
            "no_liveness",
            f"livelocks were not looked for in {', '.join(dict.fromkeys(one['ordering'] for one in not_looked))}",
            "deadlocks would have been found; an endless run in which everyone moves and a zapper never ends would not",
            " and ".join(advice),
        )


def _undeclared(explorations: Sequence[Exploration]) -> dict[str, list[str]]:
    """What known-wrong orderings that were caught can show beside what they declare, at any point of a sweep."""
    found: dict[str, list[str]] = {}
    for one in explorations:
        if one.get("own", True) and not is_safe(one) and one["verdict"] == Verdict.passed:
            told = found.setdefault(one["ordering"], [])
            told += [name for name in failing(one) if name not in (*one["expect"], *told)]
    return found


SCHEMA, SEVERAL_SCHEMA = "tdx-stress/exploration/1", "tdx-stress/explorations/1"
EXHAUSTIVE, RANDOM, PCT = "exhaustive", "random", "pct"


# How it was explored, and how far; None where a method has no such number. `depth` is the longest schedule of random
# ones, the number of levels of an exhaustive search; `frontier` the states found and not yet expanded when it stopped.
# `chance_of_miss`: exhaustive, that two states shared a fingerprint. `liveness` may be None though it was asked for,
# where the graph of all states has no room.
SEARCHED = (
    "method", "seconds", "complete", "stopped_by", "transitions", "depth", "states", "frontier", "deadlocks",
    "symmetry", "reduction", "threads", "memory_bytes", "chance_of_miss", "liveness", "liveness_asked", "schedules",
    "unfinished", "seed", "pct_depth",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """An outcome that was reached, or an invariant that was broken: a shortest schedule to it, and, of random ones, how
    many schedules showed it. `witness` says who took which step, where it is to be kept.
    """

    steps: int
    schedules: int | None = None
    witness: Sequence[Mapping[str, Any]] = field(default=())


def record(
    subject: Mapping[str, Any], search: Mapping[str, Any], outcomes: Mapping[str, Found], broken: Mapping[str, Found]
) -> dict[str, Any]:
    """One entry, verdict and reason included. `subject` says what was explored: an ordering, and the machine's size;
    `search` has of SEARCHED what its method knows. Outcomes stand in the order of `kernels.tdx.outcomes.Outcome`.
    """
    reached = dict(outcomes)
    for name, found in broken.items():
        if outcome := INVARIANT_OUTCOMES.get(name):
            reached.setdefault(outcome, found)
    names = _in_order(reached)
    both = {**{name: reached[name] for name in names}, **broken}
    made: dict[str, Any] = {
        **subject,
        **dict.fromkeys(SEARCHED),
        "liveness_asked": True,
        **search,
        "outcomes": names,
        "broken": sorted(broken),
        "grades": {outcome.name: outcome.grade.value for outcome in Outcome},
        "witness_steps": {name: found.steps for name, found in both.items()},
        "schedules_with": {name: found.schedules for name, found in both.items() if found.schedules is not None},
        "witnesses": {name: list(found.witness) for name, found in both.items() if found.witness},
    }
    judgement = judge_exploration(made)
    return {"ordering": made.pop("ordering"), **judgement.fields, **made}


def _in_order(names: Iterable[str]) -> list[str]:
    order = {outcome.name: place for place, outcome in enumerate(Outcome)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def together(drawn: Sequence[Exploration]) -> dict[str, Any]:
    """Entries of schedules that were drawn apart, as one; of each outcome the shortest schedule, the first of these."""
    best: dict[str, Exploration] = {}
    for one in drawn:
        for name, steps in one["witness_steps"].items():
            if name not in best or steps < best[name]["witness_steps"][name]:
                best[name] = one
    names = _in_order(best)
    sums = {key: sum(one[key] for one in drawn) for key in ("seconds", "transitions", "schedules", "unfinished")}
    made = {
        **drawn[0],
        **sums,
        "stopped_by": next(filter(None, (one["stopped_by"] for one in drawn)), ""),
        "depth": max(one["depth"] for one in drawn),
        "outcomes": names,
        "witness_steps": {name: best[name]["witness_steps"][name] for name in names},
        "schedules_with": {name: sum(one["schedules_with"].get(name, 0) for one in drawn) for name in names},
        "witnesses": {name: best[name]["witnesses"][name] for name in names if name in best[name]["witnesses"]},
    }
    return {**made, **judge_exploration(made).fields}


def document(header: Mapping[str, Any], explorations: Sequence[Mapping[str, Any]], *, single: bool) -> dict[str, Any]:
    """What goes into a file: the one exploration itself where one was asked for, else a list under `explorations`.

    `header` says where it comes from: command, version, commit, time and host.
    """
    found = {"caveats": exploration_caveats(explorations)}
    if single and len(explorations) == 1:
        return {"schema": SCHEMA, **header, **found, **explorations[0]}
    return {"schema": SEVERAL_SCHEMA, **header, **found, "explorations": list(explorations)}


def entries_of(document: Mapping[str, Any]) -> Sequence[Exploration]:
    """The explorations of a document, which may be the one itself."""
    entries: Sequence[Exploration] = document.get("explorations", [document])
    return entries
