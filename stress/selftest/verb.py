"""The verb `selftest`: every known-wrong ordering and every fault must be caught, by exploring and by racing; no safe
ordering may show anything.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from pydantic import TypeAdapter

from kernels.tdx.outcomes import Outcome
from results.kinds.selftest import SCHEMA, claim, is_complete, raced
from results.verdict import Verdict
from scenarios.loader import load_orderings
from stress.explore.ordering import Whole, get_ready, search
from stress.interrupts import Interrupts
from stress.options import SelftestRequest
from stress.pieces.record import Job, Pieces, Plain, key_of
from stress.pieces.run import begun, run_job
from stress.processes.limits import make_room, threads_to_start
from stress.processes.memory import chosen_memory
from stress.processes.placement import chosen_cpus, inherited_cpus
from stress.processes.prepared import Prepared, prepared_for
from stress.processes.race import race
from stress.progress import race_display, search_display
from stress.screen import Screen
from stress.selftest.expectations import Expectation, expectations
from stress.session import Session

SELFTEST = "selftest"
FAILURES = (Verdict.failed, Verdict.crashed, Verdict.hung)
MAX_TRIES = 10
CLAIMS = TypeAdapter(list[Expectation])


def selftest(request: SelftestRequest) -> int:
    """Explore and race all that is expected, show, store; returns the exit code. Raises what `run` and `explore` do."""
    if request.resume is not None:
        subject = begun(request, SELFTEST)
    else:
        named = load_orderings(request.orderings) if request.orderings else []
        expected = expectations(
            named, request.faults, short=request.short, duration=request.duration, seed=request.seed
        )
        asked = {key: getattr(request, key) for key in ("memory", "cpus", "fail_fast")}
        subject = {"claims": CLAIMS.dump_python(expected, mode="json"), **asked}
    job = job_of(subject)
    chosen_cpus(subject["cpus"])
    method = _method(subject)
    claims = CLAIMS.validate_python(subject["claims"])
    make_room(max(one.raced.vcpus + one.raced.zappers for one in claims), threads=False)

    def ready(its: Session) -> None:
        get_ready(claims[0].explored, claims[0].machines[0], method, its.progress, verbose=request.verbose)

    def told(made: Plain, pieces: Pieces) -> tuple[str, bool]:
        enough = subject["fail_fast"] and made["verdict"] in FAILURES
        return f"{made['ordering']}: {made['verdict']}: {made['reason']}", enough

    return run_job(request, job, SELFTEST, ready, threads=0, told=told)


def job_of(subject: Plain) -> Job:
    """A claim a piece."""
    asked, claims = {key: subject[key] for key in ("memory", "cpus", "fail_fast")}, subject["claims"]
    pieces = {
        key_of(
            number, one["ordering"]["name"], *([] if one["ordering"]["expect"] == "safe" else one["ordering"]["expect"])
        ): {
            "claim": one,
            "seed": one["raced"]["seed"],
            "place": f"selftest, {number} of {len(claims)}",
            **asked,
        }
        for number, one in enumerate(claims, start=1)
    }
    return Job(SELFTEST, SELFTEST, subject, pieces, run_claim, partial(_document, subject), races=True)


def _document(subject: Plain, head: Plain, how: Plain, found: Mapping[str, Plain]) -> Plain:
    claims, planned = list(found.values()), len(subject["claims"])
    head |= {"seed": subject["claims"][0]["raced"]["seed"]}
    done = {"complete": is_complete(claims, planned), "planned": planned}
    return {"schema": SCHEMA, **head, **done, "claims": claims}


def _method(asked: Plain) -> Whole:
    return Whole(memory_bytes=chosen_memory(asked["memory"]), threads=threads_to_start(len(inherited_cpus())))


def run_claim(described: Plain, interrupts: Interrupts, progress: Screen | None) -> tuple[Plain, bool]:
    """A claim, first explored, then raced, and whether it was held to its end. What races stand on is compiled when the
    first race of its kind is due, by flow and by whether actors are perturbed.
    """
    (one,), place = CLAIMS.validate_python([described["claim"]]), described["place"]
    ordering = one.ordering
    tried = _explore(one, _method(described), place, progress, interrupts)
    made = claim(ordering.name, ordering.expect, ordering.faults, tried, to_race=one.to_race)
    if one.to_race and not interrupts and not (described["fail_fast"] and made["verdict"] in FAILURES):
        with interrupts.at_once():
            prepared = prepared_for(one.raced, described["cpus"], progress)
        if not interrupts:
            tries = race_expected(prepared, one, place, progress, interrupts)
            made = raced(made, tries, one.raced.model_dump(mode="json"))
    return made, is_complete([made], 1)


def _explore(
    one: Expectation, method: Whole, place: str, progress: Screen | None, interrupts: Interrupts
) -> list[Plain]:
    """An entry for each machine, until the outcome is caught; a safe ordering is explored to the end on all."""
    ordering = one.explored
    if not one.safe:
        method = replace(method, until=tuple(ordering.expect), liveness=one.stuck)
    entries: list[Plain] = []
    for sized in one.machines:
        with search_display(progress, interrupts, ordering.name, safe=one.safe, place=place) as watch:
            entries.append(search(ordering, sized, method, watch).entry)
        if interrupts or (not one.safe and entries[-1]["verdict"] == Verdict.passed):
            break
    return entries


def race_expected(
    prepared: Prepared, one: Expectation, place: str, progress: Screen | None, interrupts: Interrupts
) -> list[Plain]:
    """The race as its tries, each an entry of a run; the last one ends at the first catch or with the race's time.

    Another error may come first and stop the VM: the race is then begun anew, with the next seed and in the time that
    is left. A safe ordering is raced once, to the end of its time, and on within `longest_s` where that met too few.
    """
    ordering, scenario = one.ordering, one.raced
    until = () if one.safe else tuple(Outcome[name] for name in ordering.expect)
    tries: list[Plain] = []
    while True:
        with race_display(progress, ordering.name, safe=one.safe, place=place, after_s=scenario.duration_s) as show:
            tries.append(race(prepared, ordering, scenario, interrupts, show, until, one.longest_s).json)
        left_s = scenario.duration_s - tries[-1]["seconds"]
        too_soon = tries[-1]["verdict"] == Verdict.inconclusive and left_s > 0
        if one.safe or not too_soon or interrupts or len(tries) == MAX_TRIES:
            return tries
        scenario = scenario.model_copy(update={"seed": scenario.seed + 1, "duration_s": left_s})
