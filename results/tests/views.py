"""Every view of every kind of result, as text, from material in which no two numbers are alike.

`python -m results.tests.views` writes what they show now into `golden/`, for a reader of the difference.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from results.caveats import caveats
from results.collect.live import Live, SearchView, live_line, live_table, search_line, search_table
from results.exchange.cases import Case, failed_lines, junit_document, ktap_document, summary
from results.history import History, as_json
from results.kinds.amplification import amplification_cases
from results.kinds.bench.compare import compare_caveats, compare_table, compared, read_rounds
from results.kinds.bench.directory import csv_text
from results.kinds.bench.findings import bench_caveats, found
from results.kinds.bench.gate import judged, parse_gate
from results.kinds.bench.page import bench_page
from results.kinds.bench.record import Bench
from results.kinds.bench.tables import batches_table, bench_cases, bench_screen, machine_lines, machine_table
from results.kinds.exploration import document
from results.kinds.exploration_views import exploration_cases
from results.kinds.faults import pair_cases
from results.kinds.kind import BY_NAME
from results.kinds.orders import race_entries
from results.kinds.orders_views import order_cases
from results.kinds.real_page import real_page
from results.kinds.run.page import run_page
from results.kinds.run.tables import run_cases
from results.kinds.selftest import claim, raced, selftest_cases
from results.machine.checks import diagnose
from results.machine.findings import findings_table, round_trip_tables
from results.machine.topology import round_trips
from results.page import Page
from results.table import Table, caveat_lines
from results.tests.builders import orders, selftest
from results.tests.builders.amplification import a_judged_entry, an_unexpected
from results.tests.builders.bench import ARMS, a_bench, an_arm, noisy, with_races
from results.tests.builders.contract import a_contract
from results.tests.builders.exploration import drawn, explored
from results.tests.builders.faults import matrix
from results.tests.builders.kept import keep
from results.tests.builders.machine import facts
from results.tests.builders.real import a_race, a_real, both
from results.tests.builders.run import HOST, SCENARIO, a_result, a_run, distinct, of_an_earlier_version
from results.verdict import Verdict

GOLDEN = Path(__file__).parent / "golden"
SEEN = {"stale_in_window": 1_237, "stale_after_kick": 41, "operand_busy": 89, "fault": 5_503}
CONTENTION = [
    {
        "lock": "S-EPT tree", "seamcall": "TDH.MEM.TRACK", "failed": 131,
        "held_by": {"TDH.VP.ENTER": 97, "gone": 34}, "got_at_last": 53,
        "tries": {"mean": 2.472, "max": 19}, "got_after_ns": {"mean": 347, "max": 6_203},
    },
    {
        "lock": "epoch", "seamcall": "TDH.MEM.PAGE.REMOVE", "failed": 7, "held_by": {"several": 7}, "got_at_last": 0,
        "tries": None, "got_after_ns": None,
    },
]  # fmt: skip
# How a figure of a bench follows from the one value that a test says, so that no two figures are alike.
FIGURES: Mapping[str, Callable[[float], float]] = {
    "p50_ns": lambda value: value,
    "p90_ns": lambda value: 1.9 * value,
    "p99_ns": lambda value: 7.3 * value,
    "max_ns": lambda value: 41_000 * value,
    "shootdowns_per_s": lambda value: 1.1e9 / value,
    "reads_per_s": lambda value: 4.7e11 / value,
    "out_of_guest_p50_ns": lambda value: 1.3 * value,
    "out_of_guest_share": lambda value: value / 8_300,
    "track_retries": lambda value: value / 59_000,
    "stale_window_p50_ns": lambda value: 0.7 * value,
}


def printed(*shown: RenderableType, width: int) -> str:
    """What a terminal of this width shows, without colour and without blanks at line ends."""
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as capture:
        for one in shown:
            console.print(one)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def a_review() -> dict[str, Any]:
    """Two right orders and a wrong one, with contention, one perturbed and one traced."""
    unsafe = a_run(
        "no_kick", {"tracking_not_done": 613, "stale_in_window": 71}, expect=["tracking_not_done"],
        verdict="failed", reason="showed what nobody declared", notes=["zapper 0 at TRACK"], perturbed=True,
        parameters={"faults": ["lost_kick"]}, changed={"kick.wait": False},
        perturbation={"declared": {"a": "1"}, "never_struck": ["a"], "yields": 7, "delays": 3, "delayed_ns": 901},
        **distinct(2),
    )  # fmt: skip
    spec = a_run("spec", SEEN, lock_contention=CONTENTION, source="A mail", **distinct(0))
    v18 = a_run("v18", {"stale_in_window": 809}, shootdown=["block", "track", "kick", "remove"], **distinct(1))
    host = {**HOST, **{key: value for key, value in facts().items() if key in MACHINE}, "hypervisor": "KVM"}
    scenario = {**SCENARIO, "title": "kick or TRACK first?", "flow": "batch", "batch": 16, "rate": 1_000.0}
    scenario["changed"] = {"rate": 1_000.0, "delays.kick.send": "200ns", "tick_us": 0}
    runs = [spec, v18, unsafe]
    return a_result(
        *runs, host=host, scenario=scenario, caveats=caveats(host, scenario, runs), seed=7, commit="0123abc",
        command=["tdx-stress", "run", "review"], started="2026-11-22T14:41:49Z", version="0.1.0",
    )  # fmt: skip


MACHINE = (
    "machine", "cpus_used", "clocksource", "ticks_per_us", "clock_error_ppm", "timer_ns", "timer_step_ns",
    "empty_shootdown_ns", "round_trip_ns", "round_trip_range_ns", "round_trip_cpus",
)  # fmt: skip


@cache
def a_spread_bench(values: tuple[int, ...] = (), key: str = "vcpus") -> Bench:
    """A bench none of whose figures are alike, with an unsafe arm and one that is slower."""
    arms = (*ARMS, an_arm("C", "no_kick", ("tracking_not_done",)))
    scenario = {**SCENARIO, "flow": "batch", "batch": 16, "orderings": ["spec", "v18", "no_kick"]}
    of_batches = {"scenario": scenario} if key == "batch" else {}
    bench = a_bench(12, noisy({"B": 1.37, "C": 0.61}, 0.02), arms, values, key, **of_batches)
    races = [
        race.model_copy(
            update={
                "figures": {name: figure(round(race.figures["p50_ns"] or 0.0)) for name, figure in FIGURES.items()},
                "all_shootdowns": 1_009 + 7 * place,
                "met_shootdowns": 907 + place,
                "forbidden_shootdowns": 3 if race.arm == "C" else 0,
                "outcomes": {"fresh": 100_003 + place, "tracking_not_done": 3 * (race.arm == "C")},
                "steal_share": 0.03 if place == 5 else 0.0,
                "seconds": 0.5 + place / 64,
            }
        )
        for place, race in enumerate(bench.rounds)
    ]
    found_in = found(bench.model_copy(update={"rounds": tuple(races)}))
    return found_in.model_copy(update={"caveats": bench_caveats(found_in)})


def _bench_real() -> str:
    """The model's word beside a machine that showed an old page."""
    arms = (an_arm("A", "word"), an_arm("A2", "word"), an_arm("B", "memfd").model_copy(update={"shootdown": ()}))
    bench = a_bench(10, noisy({"B": 3.3}, 0.02), arms, values=(1, 4))
    races = []
    for race in bench.rounds:
        its = {"alone_p50_ns": 370, "ipis": 1.25} if race.arm == "B" else {"alone_p50_ns": 200, "ipis": 0.75}
        outcomes = race.outcomes | ({"fault": 700, "stale_after_done": 3} if race.arm == "B" else {})
        races.append(race.model_copy(update={"figures": {**race.figures, **its}, "outcomes": outcomes}))
    bench = bench.model_copy(update={"rounds": tuple(races), "scenario": {**bench.scenario, "real": True}})
    return "\n".join([printed(machine_table(bench) or "", width=80), *machine_lines(bench)])


def a_failed_bench() -> Bench:
    """One in which a safe ordering showed what is forbidden, in one round."""
    bad = {"verdict": Verdict.failed, "reason": "declared safe, and showed it"}
    return found(with_races(a_bench(10, noisy({})), lambda race: (race.round, race.arm) == (2, "B"), **bad))


def cases(suite: str, made: Iterable[Case]) -> str:
    """Both forms of the same cases."""
    made = list(made)
    return f"{junit_document(suite, made)}\n{ktap_document(suite, made)}"


def page_text(page: Page) -> str:
    """What a page says, without its drawings."""
    lines = [f"{page.level}: {page.headline}", page.title, page.subtitle]
    lines += [f"[{card.level}] {card.name} {card.verdict}: {card.reason} ({card.title})" for card in page.cards]
    lines += page.answer
    for section in page.sections:
        lines += ["", f"## {section.title} #{section.id}", *section.intro, *(f"- {key.text}" for key in section.legend)]
        lines += [f"figure: {figure.caption}" for figure in section.figures]
        for table in section.tables:
            lines += _table(table)
    for table in page.facts:
        lines += _table(table)
    lines += [f"! {one['seen']}: {one['means']}. Try: {one['try']}." for one in page.caveats]
    return "\n".join([*lines, page.command, page.origin])


def _table(table: Table) -> Iterator[str]:
    yield f"table{' (folded)' * table.folded}: {table.caption}"
    yield from (" | ".join(row) for row in [table.head] * bool(table.head))
    for place, row in enumerate(table.rows):
        yield ("! " if place in table.marked else "  ") + " | ".join(row)
    yield f"numbers: {sorted(table.numbers)}"


def screen(name: str, document: Any, width: int, shown: Iterable[Any] | None = None) -> str:
    """What a terminal shows of a result of this kind: short, then all tables, then lines, answer and the last ones."""
    kind = BY_NAME[name]
    parts = list(kind.shown(document) if shown is None else shown)
    last = [*failed_lines(kind.cases(document)), summary(kind.cases(document))]
    return printed(*parts, *kind.tables(document), *kind.lines(document), kind.said(document), *last, width=width)


def _bench(width: int, **swept: Any) -> str:
    bench = a_spread_bench(**swept)
    gates = [judged(parse_gate(text), bench.comparisons, bench.points) for text in ("p50>+15%", "v18:reads/s<-40%")]
    return screen("bench", bench, width, bench_screen(bench, gates))


def _bench_cases() -> str:
    bench = a_spread_bench()
    return cases("review", bench_cases(bench, [judged(parse_gate("p50>+15%"), bench.comparisons)]))


def _batches() -> str:
    return printed(batches_table(a_spread_bench(values=(1, 16), key="batch")) or "", width=100)


def _compare() -> str:
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name, run in (("a", 0), ("b", 1)):
            runs = [a_run("spec", **distinct(run)), a_run("no_kick", expect=["tracking_not_done"], **distinct(run + 2))]
            sides.append(read_rounds(keep(Path(folder, name), a_result(*runs))))
        first, second = sides
        table = compare_table(first, second, compared(first, second))
        lines = caveat_lines(compare_caveats(first, second), whole=True)
        return printed(table, *lines, width=100).replace(folder, "runs")


def _history() -> str:
    with tempfile.TemporaryDirectory() as folder:
        keep(Path(folder, "run"), a_review())
        keep(Path(folder, "bench"), a_spread_bench(values=(1, 8)))
        history = History([Path(folder)])
        rounds = history.query("SELECT * FROM rounds ORDER BY round, point, arm LIMIT 4")
        rows = sorted(history.rows({}), key=lambda row: (row["kind"], row["point"], row["ordering"]))
        return (as_json(rows) + as_json(rounds)).replace(folder, "runs")


def explorations() -> list[Any]:
    """Three searches: whole, with everything that can fail, and stopped."""
    live = {"states": 9, "seconds": 0.1, "livelocks": 4, "refused": {"vcpu 0": 3}, "starving": {"zapper 0": "a: b"}}
    return [
        explored({"operand_busy": 5, "stale_in_window": 17}),
        explored(
            {"operand_busy": 5, "tracking_not_done": 33, "no_progress": 8}, {"epoch_monotone": 4}, ordering="w1",
            expect=("tracking_not_done",), liveness=live, deadlocks=1, faults=("no_flush_at_entry",), states=70_001,
        ),
        explored(ordering="mine", complete=False, stopped_by="memory", frontier=811, liveness=None),
    ]  # fmt: skip


def _exploration(width: int) -> str:
    ones, drawn_ones = explorations(), [drawn({"operand_busy": (5, 907), "not_blocked": (8, 401)})]
    several = [ones, ones[1:2], drawn_ones]
    made = [document({}, its, single=len(its) == 1) for its in several]
    return "\n\n".join(screen("exploration", one, width) for one in made)


def an_atlas() -> dict[str, Any]:
    rounds = [
        {"b t": orders.raced(200 * n), "v18": orders.raced(607 * n), "few": orders.raced(90, met=5)}
        | orders.twice(300 * n, n)
        for n in range(1, 10)
    ]
    names = {"v18": orders.STEPS, **orders.TWICE, "b t": orders.STEPS, "few": orders.STEPS[::-1]}
    races = {"scenario": {"vcpus": 3, "zappers": 2, "duration_s": 0.25}, "rounds": 9}
    return orders.atlas({**races, "orders": race_entries(rounds, names, ("spec", "v18"))})


def _orders(width: int) -> str:
    return "\n\n".join(screen("orders", one | {"caveats": []}, width) for one in (an_atlas(), orders.atlas()))


def _amplification() -> str:
    unexpected = an_unexpected(failing={"stale_after_done": 2}, command="tdx-stress run review --zappers 2")
    entries = [
        a_judged_entry(),
        a_judged_entry(ordering="v18", expect="safe", outcome="operand_busy", unexpected=[unexpected]),
        a_judged_entry(ordering="no_kick", best=[], command=None),
    ]
    document = {"orderings": entries}
    return f"{screen('amplification', document, 100)}\n{cases('amplify', amplification_cases(document))}"


def claims() -> list[dict[str, Any]]:
    """Five claims, of which one was not caught by its race and one not raced."""
    hidden = claim("early", selftest.KNOWN, ["early", "keep_vcpus"], [selftest.found()], to_race=False)
    fault = raced(claim("broken", selftest.KNOWN, ["no_flush"], [selftest.found()]), [selftest.CAUGHT] * 2, {})
    safe = selftest.safe(explored(), explored(vcpus=3, zappers=2, shootdowns=2, states=7_001, seconds=0.25))
    return [
        selftest.wrong(selftest.found()), selftest.wrong(selftest.found(), run=selftest.MISSED), fault, hidden, safe,
    ]  # fmt: skip


def _selftest(width: int) -> str:
    return screen("selftest", {"claims": claims()}, width)


def _doctor(width: int) -> str:
    trips = round_trips(range(4), {(a, b): 101.0 + 7 * a + b for a in range(4) for b in range(a + 1, 4)}, _relation)
    told = facts(hypervisor="KVM", governor="powersave", busy=0.3, steal_share=0.02, cpu_quota=1.5, smt=True)
    return printed(findings_table(diagnose(told)), *round_trip_tables(trips, width), width=width)


def _relation(a: int, b: int) -> str:
    return "cache" if a < 2 else "machine"


# What stands in front of every document; and one of each kind that is a dict.
HEAD: dict[str, Any] = {"command": ["tdx-stress"], "version": "0.1.0", "commit": None, "started": "2026-11-22"}
DOCUMENTS: dict[str, Any] = {
    "run": a_review(),
    "real": a_real(*both()),
    "exploration": document(HEAD, explorations(), single=False),
    "orders": {**an_atlas(), **HEAD},
    "faults": {**matrix(), **HEAD},
    "contract": {**a_contract(), **HEAD},
    "amplification": {
        "schema": "tdx-stress/amplification/1", **HEAD, "scenario": SCENARIO,
        "orderings": [a_judged_entry(), a_judged_entry(ordering="v18", unexpected=[an_unexpected()])],
    },
    "selftest": {"schema": "tdx-stress/selftest/1", **HEAD, "complete": True, "planned": 5, "claims": claims()},
}  # fmt: skip


def _live() -> str:
    race = Live("no_kick", False, "2 of 3", "4 s", 907, 123.4, 1.5e8, 667, 6_015, {"stale_in_window": 7, "fault": 0})
    search = SearchView("v18", True, "small, 2 of 3", False, 12_345_678, 2_100_000.0, 123_456, 61, 6.0, 700 << 20)
    return printed(live_table(race), live_line(race), search_table(search), search_line(search), width=80)


VIEWS: Mapping[str, Callable[[], str]] = {
    "run-80": lambda: screen("run", a_review(), 80),
    "run-100": lambda: screen("run", a_review(), 100),
    "run-of-an-earlier-version": lambda: screen(
        "run", a_result(of_an_earlier_version(a_run("spec", SEEN, **distinct(0)))), 80
    ),
    "run-page": lambda: page_text(run_page(a_review(), {})),
    "run-cases": lambda: cases("review", run_cases(a_review())),
    "real-80": lambda: screen("real", a_real(*both()), 80),
    "real-page": lambda: page_text(real_page(a_real(*both()), {**a_race().arrays, **both()[1].arrays})),
    "real-cases": lambda: cases("real", run_cases(a_real(*both()))),
    "bench-80": lambda: _bench(80),
    "bench-sweep": lambda: _bench(100, values=(1, 2, 4, 8, 16)),
    "bench-batches": _batches,
    "bench-real": _bench_real,
    "bench-page": lambda: page_text(bench_page(a_spread_bench(), defaultdict(dict))),
    "bench-failed-page": lambda: page_text(bench_page(a_failed_bench(), defaultdict(dict))).partition("##")[0],
    "bench-sweep-page": lambda: page_text(bench_page(a_spread_bench(values=(1, 2, 4, 8, 16)), defaultdict(dict))),
    "bench-cases": _bench_cases,
    "bench-csv": lambda: "\n".join(csv_text(a_spread_bench(values=(1, 2))).splitlines()[:10]),
    "compare": _compare,
    "history": _history,
    "exploration-80": lambda: _exploration(80),
    "exploration-100": lambda: _exploration(100),
    "exploration-cases": lambda: cases("small", exploration_cases({"explorations": explorations()})),
    "orders-80": lambda: _orders(80),
    "orders-cases": lambda: cases("atlas", order_cases(an_atlas())),
    "faults-80": lambda: screen("faults", matrix(), 80),
    "contract-80": lambda: screen("contract", a_contract(), 80),
    "faults-cases": lambda: cases("matrix", pair_cases(matrix())),
    "amplification": _amplification,
    "selftest-80": lambda: _selftest(80),
    "selftest-100": lambda: _selftest(100),
    "selftest-cases": lambda: cases("selftest", selftest_cases(claims())),
    "doctor-80": lambda: _doctor(80),
    "live": _live,
}


if __name__ == "__main__":
    for name, view in VIEWS.items():
        (GOLDEN / f"{name}.txt").write_text(view() + "\n")
