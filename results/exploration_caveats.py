"""What a reader must know before believing an exploration: each caveat typed here, as data. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.caveats import Caveat, undeclared
from results.exploration_verdict import (
    FIRST,
    INTERRUPT,
    MEMORY,
    STOPPED,
    failing,
    is_sampled,
    larger,
    looked_at,
    size_words,
)
from results.statistics import would_have_caught
from results.verdict import Verdict, is_safe
from results.wording import count, plural, share

# From here on the chance that two states were taken for one is worth a caveat.
LIKELY_MISS = 1e-6
MORE_SCHEDULES = "more schedules, another --seed, or every interleaving of a smaller machine, without --random"
Exploration = Mapping[str, Any]

TRY = {
    MEMORY: "more --memory, a smaller machine, or --random 10000",
    INTERRUPT: "a search to its end, or a smaller machine",
    FIRST: "the same without --fail-fast",
}


def exploration_caveats(explorations: Sequence[Exploration]) -> list[dict[str, str]]:
    """All caveats of these explorations; what holds for several is said once."""
    found = [
        *_of_the_method(explorations),
        *_of_what_stopped(explorations),
        *_of_liveness(explorations),
        *undeclared({one["ordering"]: _undeclared(one) for one in explorations}),
    ]
    return [caveat.as_dict() for caveat in found]


def _of_the_method(explorations: Sequence[Exploration]) -> Iterator[Caveat]:
    for sampled in [one for one in explorations if is_sampled(one)][:1]:
        yield Caveat("random_schedules", f"{looked_at(sampled)} of each ordering", _worth(sampled), MORE_SCHEDULES)
    for whole in [one for one in explorations if one["complete"]][:1]:
        yield Caveat(
            "bounded",
            f"all of {size_words(whole)}, one atomic step at a time",
            "a larger machine, or memory that reorders, may show more",
            f"{larger(whole)}; `tdx-stress run` for the memory of this CPU",
        )
    risky = [one for one in explorations if not is_sampled(one) and (one["chance_of_miss"] or 0) > LIKELY_MISS]
    if risky:
        worst = max(risky, key=lambda one: one["chance_of_miss"])
        yield Caveat(
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
    for reason, advice in TRY.items():
        stopped = [one for one in explorations if one["stopped_by"] == reason]
        if stopped:
            yield Caveat(
                {MEMORY: "out_of_memory", INTERRUPT: "interrupted", FIRST: "stopped_at_first"}[reason],
                f"the search {STOPPED[reason]}: " + "; ".join(map(_how_far, stopped)),
                "what was not looked at may hold anything",
                advice,
            )
    unfinished = [one for one in explorations if one["unfinished"]]
    if unfinished:
        yield Caveat(
            "unfinished_schedules",
            "schedules that were cut off: "
            + ", ".join(f"{count(one['unfinished'])} of {one['ordering']}" for one in unfinished),
            "a zapper was not done: what comes later in them was not looked at",
            "a smaller machine, or fewer --shootdowns",
        )


def _how_far(exploration: Exploration) -> str:
    left = "" if not exploration["frontier"] else f", {count(exploration['frontier'])} states still to expand"
    return f"{exploration['ordering']} after {looked_at(exploration)}{left}"


def _of_liveness(explorations: Sequence[Exploration]) -> Iterator[Caveat]:
    not_looked = [one for one in explorations if not is_sampled(one) and one["complete"] and one["liveness"] is None]
    if not_looked:
        yield Caveat(
            "no_liveness",
            f"livelocks were not looked for in {_names(not_looked)}",
            "deadlocks would have been found; an endless run in which everyone moves and a zapper never ends would not",
            "a smaller machine, and no --no-liveness",
        )


def _undeclared(one: Exploration) -> list[str]:
    """What a known-wrong ordering that was caught can show beside what it declares."""
    caught = not is_safe(one) and one["verdict"] == Verdict.passed
    return [name for name in failing(one) if name not in one["expect"]] if caught else []


def _names(explorations: Sequence[Exploration]) -> str:
    return ", ".join(one["ordering"] for one in explorations)
