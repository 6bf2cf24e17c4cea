"""The atlas for a terminal: how many orders are what, the fastest safe ones, and where the known orderings stand.

And as test cases. Nothing is expected of an order: a case passes unless it is open, or a race contradicts the search,
or broke.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from results.exchange.cases import Case, state_unless_open
from results.kinds.orders import (
    AFTER_DONE,
    AGAIN,
    AS_IS,
    CHECK_OFF,
    HOST_FREES,
    REFERENCE,
    Kind,
    OrderVerdict,
    Tier,
    base_of,
    differs,
    kind_of,
    kinds,
)
from results.numbers.rounds import RANKED
from results.table import Table, caveat_lines
from results.verdict import GRAVEST_FIRST
from results.words import count, machine_size, nanoseconds, nanoseconds_with_interval, plural

Document = Mapping[str, Any]
FASTEST = 10


def atlas_screen(atlas: Document) -> Iterator[RenderableType]:
    yield Text(f"Every order of {', '.join(atlas['steps'])}; all else as in {base_of(atlas)}", style="bold")
    yield _summary(atlas["orders"], atlas["machines"])
    yield from _how(atlas)
    yield ""
    if not atlas["races"]:
        yield from (*_safe_orders(atlas["orders"]), "")
    elif atlas["races"]["orders"]:
        yield _races(atlas["races"])
        yield from _race_notes(atlas["races"])
        yield ""
    if atlas["caveats"]:
        yield from (*caveat_lines(atlas["caveats"]), "")


def order_lines(atlas: Document) -> list[str]:
    """The lines to grep, `Order block,track,kick,remove safe`."""
    return [f"Order {','.join(one['order'])} {one['verdict']}" for one in atlas["orders"]]


def _summary(entries: Sequence[Mapping[str, Any]], machines: Sequence[Mapping[str, Any]]) -> Table:
    """`machines` are those of the atlas, numbered from 1."""
    numbers = {Tier(**machine).words: str(number) for number, machine in enumerate(machines, start=1)}
    rows = tuple(
        (kind.kind, count(kind.orders), _range(kind.witness), *(_stale(kind, one) for one in (CHECK_OFF, HOST_FREES)),
         _machines(kind, numbers))
        for kind in kinds(entries)
    )  # fmt: skip
    head = ("VERDICT", "orders", "steps", "stale: check off", "host frees", "machine")
    return Table("", head, rows, frozenset(range(1, 6)))


def _range(witness: tuple[int, int] | None) -> str:
    if witness is None:
        return "-"
    low, high = witness
    return str(low) if low == high else f"{low}-{high}"


def _stale(kind: Kind, variant: str) -> str:
    """How many are stale, and of how many that is not known."""
    if kind.kind == OrderVerdict.safe:
        return "never"
    if kind.kind == OrderVerdict.open:
        return "-"
    said = count(kind.stale[variant])
    return f"{said}, {kind.open[variant]} open" if kind.open[variant] else said


def _machines(kind: Kind, numbers: Mapping[str, str]) -> str:
    if kind.kind == OrderVerdict.safe:
        return "all"
    return ", ".join(numbers[words] for words in kind.machines) or "-"


def _how(atlas: Document) -> Iterator[str]:
    explored = atlas["explored"]
    done = "" if explored["complete"] else f", {count(explored['decided'])} decided"
    seconds = nanoseconds(explored["seconds"] * 1e9)
    bounds = " and ".join(f"{atlas['variant_bytes'][one] / (1 << 20):g} MiB" for one in (CHECK_OFF, HOST_FREES))
    yield (
        f"{plural(explored['orders'], 'order')}{done}: {plural(explored['states'], 'state')}, "
        f"{plural(explored['transitions'], 'transition')} in {seconds} on {plural(explored['threads'], 'thread')}"
    )
    yield (
        "STEPS: to what refuses it, at the least. STALE: orders by which a vCPU reads a page that is someone else's by "
        "then, with REMOVE's check of TLB tracking off, or with a host that frees the page all the same: asked on "
        f"MACHINE alone, within {bounds}, open where that is too little. MACHINE: the first that shows "
        "something forbidden, of:"
    )
    for number, machine in enumerate((Tier(**one) for one in atlas["machines"]), start=1):
        yield f"  {number}  {machine.words}{'; livelocks too' * machine.liveness}"
    stale = sum(AFTER_DONE in one["witness_steps"].get(AS_IS, {}) for one in atlas["orders"])
    if not explored["complete"]:
        yield "Orders are open where the search was ended, or ran out of memory: see --memory."
    if stale:
        yield (
            f"{plural(stale, 'order')}, refused, let a vCPU use an old translation after the flush was declared done: "
            "it is the module's refusal that keeps the page from being someone else's."
        )


def _safe_orders(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    safe = [one for one in entries if one["verdict"] == OrderVerdict.safe]
    yield from (f"safe: {', '.join(one['order'])}" for one in safe[:FASTEST])
    if len(safe) > FASTEST:
        yield f"and {plural(len(safe) - FASTEST, 'more safe order')} in atlas.json"


def _races(races: Mapping[str, Any]) -> Table:
    """The fastest safe orders and the known orderings, by latency, with their places among all that raced."""
    rows: list[tuple[str, ...]] = []
    marked: set[int] = set()
    for rank, entry in enumerate(races["orders"], start=1):
        if rank > FASTEST and not entry["known"]:
            continue
        bad = sorted(set(entry["verdicts"]) - {"passed", "inconclusive"})
        if bad:
            marked.add(len(rows))
        name = f"{entry['name']}: {' '.join(entry['order'])}" if entry["known"] else " ".join(entry["order"])
        shown = name + (f" ({', '.join(bad)})" if bad else "")
        rows.append((f"{rank}." if differs(entry) else "-", shown, _latency(entry["p50_ns"]), _ratio(entry)))
    scenario = races["scenario"]
    head = (
        f"The safe orders raced: {', '.join(machine_size(scenario))}, "
        f"{plural(races['rounds'], 'round')} of {scenario['duration_s']:.3g} s each"
    )
    columns = ("RANK", "order", "p50 of a shootdown", "of its round")
    return Table(head, columns, tuple(rows), frozenset({0}), frozenset(marked), least=(3,))


def _latency(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "too few rounds"
    return nanoseconds_with_interval(found["median"], found["low"], found["high"])


def _ratio(entry: Mapping[str, Any]) -> str:
    ratio = entry["ratio"]
    if ratio is None:
        return "not comparable" if entry["refused"] else "-"
    said = f"{ratio['median']:.2f}x ({ratio['low']:.2f}-{ratio['high']:.2f})"
    return said + ((" slower" if ratio["low"] > 1 else " faster") if differs(entry) else "")


def _race_notes(races: Mapping[str, Any]) -> Iterator[str]:
    entries = races["orders"]
    yield "Medians over rounds, intervals of 95 % where there is room; of its round: against the median of all in it."
    chance = f"{100 * (1 - RANKED):.0f} %"
    yield f"A rank, slower and faster stand where same orders show any in at most {chance} of atlases."
    for reason in dict.fromkeys(entry["refused"] for entry in entries if entry["refused"]):
        of = [entry["name"] for entry in entries if entry["refused"] == reason]
        yield f"Not comparable, {plural(len(of), 'order')}: {reason}."
    hidden = sum(not entry["known"] for entry in entries[FASTEST:])
    if hidden:
        yield f"{plural(hidden, 'slower safe order')} in atlas.json."
    if any(entry["ratio"] for entry in entries) and not any(map(differs, entries)):
        yield "No difference shown between any of them."
    twice = [entry["p50_ns"]["median"] for entry in entries if entry["name"] in (REFERENCE, AGAIN) and entry["p50_ns"]]
    if len(twice) == 2:
        yield f"{REFERENCE} raced twice: {' and '.join(map(nanoseconds, twice))}; less means nothing."


def order_cases(atlas: Mapping[str, Any]) -> list[Case]:
    """A case an order, then one each that raced."""
    searched = [
        Case(
            ",".join(one["order"]),
            state_unless_open(one["verdict"] == OrderVerdict.open),
            kind_of(one),
            word=one["verdict"],
        )
        for one in atlas["orders"]
    ]
    raced = (atlas["races"] or {}).get("orders", ())
    races = [(one["name"], *_race(one["verdicts"])) for one in raced]
    return searched + [
        Case(f"race of {name}", state, why, word="raced" if state == "passed" else "") for name, state, why in races
    ]


def _race(verdicts: Sequence[str]) -> tuple[str, str]:
    """The gravest of a race's rounds; one in which too little happened says nothing against the order."""
    told = {*verdicts, "passed"} - {"inconclusive"}
    return min(told, key=GRAVEST_FIRST.index), ", ".join(verdicts)
