"""The contract of the locks: which SEAMCALL is told BUSY against which other, and what comes of its second try. Pure.

A conflict is a dict of the JSON: the `leaf` that is told BUSY, the `lock`, the leaf that is its `holder` just then,
`second` as kernels/tdx/outcomes.py has it, the `parts` of a machine in which it can happen, and the steps of a shortest
schedule. A lock that is tried and never found taken has a conflict without a holder.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from rich.console import RenderableType
from rich.text import Text

from kernels.tdx.outcomes import Outcome, Second
from kernels.tdx.statuses import LEAF_NAMES
from results.exchange.cases import Case, case_of
from results.kinds.shape import Count, DocumentShape, OrderingShape, Seconds, Shape
from results.table import Table, verdict_line
from results.verdict import Judgement, Verdict, is_safe
from results.words import broken_name, count, nanoseconds, plural

Entry = Mapping[str, Any]
SCHEMA = "tdx-stress/contract/1"
GRAVE = (Second.fails, Second.none)
NOBODY, GIVEN_UP = "nobody", Outcome.busy_given_up.name
MOST_TOLD = 3  # of what else the table has
MEANING = {
    Second.holds: "the second try, with every vCPU kept out, never fails",
    Second.spins: "tried again for as long as it fails, without a bound",
    Second.anew: "told to the caller: the fault, zap or ioctl begins anew",
    Second.skips: "taken for done, without another try",
    Second.fails: "so can the second try, and is given up: KVM_BUG_ON",
    Second.none: "given up at once, or after 16 tries: KVM_BUG_ON",
    Second.never: "nobody is ever met at this lock, on machines as small as these",
}
# What the answer says of SEAMCALLs that are neither promised nor given up.
PROMISED = {
    Second.spins: "tried again without a bound",
    Second.anew: "told to the caller",
    Second.skips: "taken for done",
}


class _Conflict(Shape):
    leaf: str
    lock: str
    holder: str | None
    second: Annotated[Second, Field(strict=False)]
    parts: Annotated[list[str], Field(min_length=1)]
    states: Count
    steps: Count | None
    given_up_steps: Count | None


class _Entry(OrderingShape):
    complete: bool
    open: list[str]
    states: Count
    seconds: Seconds
    conflicts: list[_Conflict]


class _Explored(Shape):
    threads: Count


class ContractShape(DocumentShape):
    """The whole of contract.json."""

    orderings: Annotated[list[_Entry], Field(min_length=1)]
    machines: dict[str, list[Any]]
    explored: _Explored
    left_out: list[str]


def _turn(leaf: str, lock: str, holder: str | None) -> tuple[int, str, int]:
    """By SEAMCALL, lock and holder; nobody comes last."""
    order: dict[str | None, int] = {name: place for place, name in enumerate(LEAF_NAMES.values())}
    return order.get(leaf, len(order)), lock, order.get(holder, len(order))


def entry(subject: Entry, found: Entry, conflicts: Iterable[Entry]) -> dict[str, Any]:
    """One ordering, judged. `subject`: what it is; `found`: how it went, `complete`, `open`, `states`, `seconds`."""
    rows = sorted(conflicts, key=lambda one: _turn(one["leaf"], one["lock"], one["holder"]))
    made = {**subject, **found, "conflicts": rows}
    return {**made, **judge(made).fields}


def given_up(one: Entry) -> list[Entry]:
    """The conflicts after which BUSY is an error."""
    return [row for row in one["conflicts"] if row["second"] in GRAVE]


def judge(one: Entry) -> Judgement:
    """The verdict on an ordering, as far as BUSY goes: what else it is known for is not asked."""
    shortest = sorted(given_up(one), key=lambda row: int(row["given_up_steps"]))
    told = "; ".join(f"{_met(row)} in {plural(row['given_up_steps'], 'step')}" for row in shortest[:MOST_TOLD])
    told += f"; and {len(shortest) - MOST_TOLD} more" * (len(shortest) > MOST_TOLD)
    looked = f"in all {plural(one['states'], 'state')}"
    if GIVEN_UP in one["expect"] and not is_safe(one):
        if told:
            return Judgement(Verdict.passed, f"gives BUSY up: {told}")
        verdict = Verdict.failed if one["complete"] else Verdict.inconclusive
        return Judgement(verdict, f"known for {GIVEN_UP}, which does not show {looked}")
    if told and is_safe(one):
        return Judgement(Verdict.failed, f"declared safe, and gives BUSY up: {told}")
    if not (one["complete"] and one["states"]):
        open_ = f", as too large for --memory: {', '.join(one['open'])}" * bool(one["open"])
        reason = f"{told or 'no BUSY given up'}, and not all was looked at{open_}"
        return Judgement(Verdict.inconclusive, reason)
    aside = "" if is_safe(one) else f"; known for {', '.join(one['expect'])}, which is not asked"
    return Judgement(Verdict.passed, f"{f'gives BUSY up: {told}' if told else f'gives no BUSY up {looked}'}{aside}")


def contract_cases(document: Entry) -> list[Case]:
    return [case_of(_asked(one)) for one in document["orderings"]]


def contract_lines(document: Entry) -> list[str]:
    """The lines to grep, `Contract v6_16 MEM.TRACK epoch VP.ENTER always`."""
    return [
        f"Contract {one['ordering']} {_short(row['leaf'])} {row['lock']} {_short(row['holder'])} {row['second']}"
        for one in document["orderings"]
        for row in one["conflicts"]
    ]


def contract_screen(document: Entry) -> Iterator[RenderableType]:
    """The verdicts, the table, what its words mean, and what is not in it."""
    entries, machines = document["orderings"], document["machines"]
    yield Text("Which SEAMCALL is told BUSY against which, and what comes of its second try", style="bold")
    for one in entries:
        yield verdict_line(_asked(one), one["ordering"])
    yield (
        f"{plural(sum(map(len, machines.values())), 'machine')} of {plural(len(machines), 'part')}, "
        f"{count(sum(one['states'] for one in entries))} states in "
        f"{nanoseconds(sum(one['seconds'] for one in entries) * 1e9)} on "
        f"{plural(document['explored']['threads'], 'thread')}"
    )
    yield ""
    yield contract_table(document)
    seen = {row["second"] for one in entries for row in one["conflicts"]}
    yield "A number: the steps of a shortest schedule to that BUSY. +1: in one more part."
    yield from (f"  {second.value:<8} {means}" for second, means in MEANING.items() if second in seen)
    yield f"Left out, as nobody races for them here: {', '.join(document['left_out'])}."
    yield ""


def contract_table(document: Entry) -> Table:
    """A row for each lock that a SEAMCALL tries and each holder, its orderings side by side; those first in which they
    differ, but for the steps.
    """
    entries = document["orderings"]
    found = [{(row["leaf"], row["lock"], row["holder"]): row for row in one["conflicts"]} for one in entries]
    keys = list(dict.fromkeys(key for its in found for key in its))
    taken = {(leaf, lock) for leaf, lock, holder in keys if holder is not None}
    rows, marked, before = list[tuple[str, ...]](), set[int](), ("", True)
    differ = {key: len({one[key]["second"] if key in one else None for one in found}) > 1 for key in keys}
    for key in sorted(keys, key=lambda key: (not differ[key], _turn(*key))):
        leaf, lock, holder = key
        if holder is None and (leaf, lock) in taken:
            continue
        its = [one.get(key) for one in found]
        parts = list(dict.fromkeys(part for row in its if row for part in row["parts"]))
        where = f"{parts[0]} +{len(parts) - 1}" if len(parts) > 1 else parts[0]
        marked |= {len(rows)} if any(row and row["second"] in GRAVE for row in its) else set()
        named = _short(leaf) if before != (leaf, differ[key]) else ""
        rows.append((named, lock, _short(holder), *map(_cell, its), where))
        before = leaf, differ[key]
    head = ("BUSY", "lock", "held by", *(broken_name(one["ordering"], safe=is_safe(one)) for one in entries), "in")
    shown = len(head) - (len(document["machines"]) == 1)
    return Table("", head[:shown], tuple(row[:shown] for row in rows), marked=frozenset(marked))


def contract_answer(document: Entry) -> str:
    """Each ordering in a sentence; then what each of the others adds to the first, changes in it, and takes away."""
    first, *others = document["orderings"]
    told = [_promise(one) for one in (first, *others)]
    for one in others:
        ours, theirs = ({_met(row): row for row in it["conflicts"] if row["holder"]} for it in (one, first))
        added, taken = (
            [ours[met] for met in ours if met not in theirs],
            [theirs[met] for met in theirs if met not in ours],
        )
        changed = [met for met in ours if met in theirs and ours[met]["second"] != theirs[met]["second"]]
        for what, which in (("adds to", added), ("takes from", taken)):
            told += [f"{one['ordering']} {what} {first['ordering']}: {_grouped(which)}."] * bool(which)
        of_second = "; ".join(f"{met}: {ours[met]['second']}, not {theirs[met]['second']}" for met in changed)
        told += [f"{one['ordering']} changes the second try of {first['ordering']}: {of_second}."] * bool(changed)
        told += [f"{one['ordering']} adds nothing to {first['ordering']}, and takes nothing from it."] * (
            not added and not taken and not changed
        )
    return "\n".join(told)


def _promise(one: Entry) -> str:
    """`v6_16: the second try of MEM.TRACK always succeeds; ...`"""
    by = {second: dict.fromkeys(_short(row["leaf"]) for row in one["conflicts"] if row["second"] == second)
          for second in Second}  # fmt: skip
    at_one = {_short(row["leaf"]) for row in given_up(one)}  # whatever it is at another lock
    holds = [leaf for leaf in by[Second.holds] if leaf not in at_one]
    parts = [f"the second try of {' and '.join(holds)} always succeeds"] if holds else []
    parts += [f"{', '.join(by[second])}: {said}" for second, said in PROMISED.items() if by[second]]
    parts += [f"given up: {_grouped(rows)}" for rows in [given_up(one)] if rows]
    where = "on these machines" if one["complete"] else "as far as was looked"
    return f"{one['ordering']}, {where}: {'; '.join(parts) or 'nobody is told BUSY'}."


def _asked(one: Entry) -> Entry:
    return one if GIVEN_UP in one["expect"] else {**one, "expect": "safe"}


def _grouped(rows: Iterable[Entry]) -> str:
    """`VP.INIT on TDR against VP.ENTER, VP.FLUSH and 7 more; ...`: the holders of each lock together."""
    by: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        by.setdefault((_short(row["leaf"]), row["lock"]), []).append(_short(row["holder"]))
    return "; ".join(f"{leaf} on {lock} against {_some(holders)}" for (leaf, lock), holders in by.items())


def _some(names: Sequence[str]) -> str:
    told = [*names[:MOST_TOLD], *[f"{len(names) - MOST_TOLD} more"] * (len(names) > MOST_TOLD)]
    return " and ".join(filter(None, [", ".join(told[:-1]), told[-1]]))


def _met(row: Entry) -> str:
    return f"{_short(row['leaf'])} on {row['lock']} against {_short(row['holder'])}"


def _short(leaf: str | None) -> str:
    """A leaf without TDH or TDG."""
    return NOBODY if leaf is None else leaf.partition(".")[2] or leaf


def _cell(row: Entry | None) -> str:
    if row is None:
        return "-"
    return row["second"] if row["steps"] is None else f"{row['second']} {row['steps']}"
