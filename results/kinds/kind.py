"""The kinds of result, each with the same faces: what it says, what it comes to, and how it is shown.

Whoever has the directory of a result needs no more than this: `kind_in` says of which kind it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import RenderableType

from results.exchange.cases import Case
from results.figures import FIGURES
from results.kinds import (
    amplification,
    contract,
    exploration,
    exploration_views,
    faults,
    orders,
    orders_views,
    real,
    selftest,
    shape,
)
from results.kinds.bench import directory as bench_directory
from results.kinds.bench import tables as bench_tables
from results.kinds.bench.findings import at, found, seen
from results.kinds.bench.findings import exit_code as bench_exit_code
from results.kinds.bench.record import BENCH, BENCH_SCHEMA, ROUNDS, Bench
from results.kinds.files import Arrays, draw_map, write_bench_report, write_real_report, write_report
from results.kinds.run import tables as run_tables
from results.kinds.run.answer import KICK_FIRST, TRACK_FIRST, review_answer
from results.kinds.run.record import SCHEMA as RUN_SCHEMA
from results.kinds.run.record import ResultShape, Stored, read_result
from results.store import RAW, RESULT, StoreError, json_bytes, read_document
from results.table import Table
from results.verdict import Exit, exit_code_of, is_safe
from results.verdict import exit_code as run_exit_code
from results.words import SIZES, changes, keys_set, with_changes

RACED, STEPPED = "a model, not Intel silicon", "a model, stepped, not Intel silicon"
REVIEW = "review"
# What stands in a history for an exit code.
VERDICTS: Mapping[int, str] = {
    Exit.MET: "passed",
    Exit.FAILED: "failed",
    Exit.HARNESS: "crashed",
    Exit.INCONCLUSIVE: "inconclusive",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of result. `read` gives its document, sound, or raises StoreError; the other faces take that.

    `models` are what its documents hold, by their schemas, `text` that as JSON. `shown` is for a terminal, short, and
    `tables` hold all; `lines`, those to grep, stand `alone` where they are many; `said` is the last word, `model` what
    was done with the protocol. Its `cases` stand under `suite`. `draw` makes the files beside it, and says what was not
    kept that it needs, or "". `rows` are those of a history; `about` is what two results must have in common to be held
    against each other.
    """

    name: str
    what: str
    file: str
    model: str
    models: Mapping[str, type[BaseModel]]
    read: Callable[[Path], Any]
    exit_code: Callable[[Any], int]
    shown: Callable[[Any], Iterable[RenderableType]]
    lines: Callable[[Any], Iterable[str]]
    suite: Callable[[Any], str]
    cases: Callable[[Any], Sequence[Case]]
    tables: Callable[[Any], Iterable[Table]] = lambda document: ()
    said: Callable[[Any], str] = lambda document: ""
    draw: Callable[[Path, Any], str] = lambda directory, document: ""
    text: Callable[[Any], str] = lambda document: json_bytes(document).decode()
    alone: bool = False
    rows: Callable[[Any], list[dict[str, Any]]] = lambda document: []
    about: Callable[[Any], Mapping[str, Any]] = lambda document: {}


def _answer(result: Any) -> str:
    """What both orders showed, and that one run ranks nothing; what they cost stands in the tables and on the page."""
    if result["scenario"]["name"] != REVIEW or not {TRACK_FIRST, KICK_FIRST} <= {
        run["ordering"] for run in result["runs"]
    }:
        return ""
    told = review_answer(result)
    return "\n".join(dict.fromkeys((told[0], told[-1])))


def _draw_race(
    read: Callable[[Path], Stored], write: Callable[[Path, Any, Arrays], None], directory: Path, result: Any
) -> str:
    arrays = read(directory).arrays
    if arrays:
        write(directory, result, arrays)
    return "" if arrays else RAW


def _read_bench(directory: Path) -> Bench:
    """What the rounds say is found anew: a record holds it only for other readers."""
    bench = found(bench_directory.read_bench(directory))
    if not bench.rounds:
        raise StoreError(f"{directory / BENCH}: expected rounds, found none; tdx-stress bench --resume goes on")
    if (directory / ROUNDS).exists():
        bench_directory.pooled(bench, directory)  # refused before anything is shown
    return bench


def _draw_bench(directory: Path, bench: Bench) -> str:
    write_bench_report(directory, bench)
    return "" if (directory / ROUNDS).exists() else f"{ROUNDS}/"


def _raced_rows(
    result: Any, runs: Iterable[Any], figures: Callable[[Any], Mapping[str, Any]] = lambda run: {}
) -> list[dict[str, Any]]:
    told = keys_set(result["scenario"])
    name = with_changes(result["scenario"].get("name", "run"), told)
    return [_a_row(one, {**result["scenario"], **one}, told, scenario=name, **figures(one)) for one in runs]


# Of the figures of a bench those that stand in a history's `runs`.
OF_RUNS = [figure.id for figure in FIGURES if figure.over_time]


def _bench_rows(bench: Bench) -> list[dict[str, Any]]:
    """A row for each arm, point and machine: medians over its rounds, and the verdict of all rounds of all machines."""
    told, verdicts = keys_set(bench.scenario), seen(bench)
    rows = []
    for arm, point, part in product(bench.once, bench.points, map(bench.on, bench.machines)):
        if not (races := part.races(point, arm.arm)):
            continue
        one = {**arm.its, "expect": arm.expect, "verdict": verdicts[point, arm.ordering]["verdict"]}
        rows.append(
            _a_row(
                one, at(bench, point), told, scenario=with_changes(bench.scenario["name"], told), point=point,
                perturbed=arm.perturbed, machine=part.machines[0] or bench.host.get("id"), rounds=len(races),
                shootdowns=sum(race.all_shootdowns for race in races),
                forbidden=sum(race.forbidden_shootdowns for race in races),
                **{figure: part.median(point, arm.arm, figure) for figure in OF_RUNS},
            )
        )  # fmt: skip
    return rows


def _of_verdicts(document: Any) -> int:
    return exit_code_of(one["verdict"] for one in document["orderings"])


def _a_row(
    one: Mapping[str, Any], size: Mapping[str, Any] | None, told: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """A row of a history, from whatever has an ordering and a verdict; `size` has the actors, `told` is what was
    changed of the scenario. What was changed is part of a name here, so that no query mixes it with what was not.
    """
    row = {"safe": is_safe(one), "verdict": one["verdict"], **more}
    row |= {"ordering": with_changes(one["ordering"], changes(one)), "changed": ", ".join([*changes(one), *told])}
    return row | {key: (size or {}).get(key) for key in ("vcpus", "zappers")}


def _searched_rows(code: int, ones: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of orderings of which nothing is expected: where all went well, that they were searched."""
    verdict = VERDICTS[code] if code else "searched"
    return [_a_row({**one, "verdict": verdict}, None, scenario="") for one in ones]


def _of_document(name: str, what: str, file: str, models: Mapping[str, type[BaseModel]], **faces: Any) -> Kind:
    """A kind whose document is a dict of JSON alone."""

    def read(directory: Path) -> dict[str, Any]:
        return read_document(directory / file, what, models)

    return Kind(name, what, file, models=models, read=read, **faces)


KINDS = (
    Kind(
        "run",
        "a run",
        RESULT,
        RACED,
        {RUN_SCHEMA: ResultShape},
        read=lambda directory: read_result(directory).result,  # with its arrays, refused before anything is shown
        exit_code=lambda it: run_exit_code(it["runs"]),
        shown=run_tables.run_screen,
        tables=run_tables.run_tables,
        lines=lambda it: map(run_tables.observation_line, it["runs"]),
        suite=lambda it: str(it["scenario"].get("name", "run")),
        cases=run_tables.run_cases,
        draw=partial(_draw_race, read_result, write_report),
        said=_answer,
        rows=lambda it: _raced_rows(it, it["runs"], run_tables.model_row),
    ),
    Kind(
        "bench",
        "a bench",
        BENCH,
        RACED,
        {BENCH_SCHEMA: Bench},
        read=_read_bench,
        exit_code=bench_exit_code,
        shown=bench_tables.bench_screen,
        tables=bench_tables.bench_tables,
        text=Bench.json_text,
        lines=bench_tables.observation_lines,
        suite=lambda it: str(it.scenario["name"]),
        cases=bench_tables.bench_cases,
        draw=_draw_bench,
        rows=_bench_rows,
    ),
    Kind(
        "real",
        "a real run",
        real.FILE,
        real.KERNEL,
        {real.SCHEMA: real.RealShape},
        read=lambda directory: real.read_real(directory).result,
        exit_code=lambda it: run_exit_code(it["runs"]),
        shown=real.real_screen,
        tables=real.real_tables,
        lines=lambda it: map(run_tables.observation_line, it["runs"]),
        suite=lambda it: str(it["scenario"]["name"]),
        cases=run_tables.run_cases,
        draw=partial(_draw_race, real.read_real, write_real_report),
        rows=lambda it: _raced_rows(it, it["runs"], run_tables.history_row),
        about=lambda it: {key: it["scenario"].get(key) for key in ("arms", "vcpus", "pages", "faults")},
    ),
    _of_document(
        "exploration",
        "an exploration",
        "exploration.json",
        {exploration.SCHEMA: shape.SingleShape, exploration.SEVERAL_SCHEMA: shape.SeveralShape},
        model=STEPPED,
        exit_code=lambda it: exploration.exploration_exit_code(exploration.entries_of(it)),
        shown=exploration_views.exploration_screen,
        tables=lambda it: map(exploration_views.exploration_table, exploration.entries_of(it)),
        lines=lambda it: map(exploration_views.exploration_observation, exploration.entries_of(it)),
        suite=lambda it: "explore",
        cases=exploration_views.exploration_cases,
        rows=lambda it: [
            _a_row(one, one, scenario=one.get("flow", "shootdown"), point=one.get("point", ""))
            for one in exploration.entries_of(it)
        ],
        about=lambda it: {key: exploration.entries_of(it)[0].get(key) for key in ("flow", "method", *SIZES)},
    ),
    _of_document(
        "orders",
        "an atlas",
        "atlas.json",
        {orders.SCHEMA: shape.AtlasShape},
        model=STEPPED,
        exit_code=orders.atlas_exit_code,
        shown=orders_views.atlas_screen,
        lines=orders_views.order_lines,
        suite=lambda it: f"atlas-{it['ordering']}",
        cases=orders_views.order_cases,
        draw=partial(draw_map, "atlas"),
        alone=True,
        rows=lambda it: _searched_rows(orders.atlas_exit_code(it), [{**it, **it["parameters"]}]),
        about=lambda it: {key: it[key] for key in ("ordering", "steps", "machines")},
    ),
    _of_document(
        "faults",
        "a matrix",
        "matrix.json",
        {faults.SCHEMA: shape.MatrixShape},
        model=STEPPED,
        exit_code=faults.matrix_exit_code,
        shown=faults.matrix_screen,
        tables=faults.matrix_tables,
        lines=faults.pair_lines,
        suite=lambda it: "matrix",
        cases=faults.pair_cases,
        draw=partial(draw_map, "matrix"),
        alone=True,
        rows=lambda it: _searched_rows(
            faults.matrix_exit_code(it), ({"ordering": one["name"], "expect": one["expect"]} for one in it["orderings"])
        ),
        about=lambda it: {"machines": it["machines"]},
    ),
    _of_document(
        "contract",
        "a contract",
        "contract.json",
        {contract.SCHEMA: contract.ContractShape},
        model=STEPPED,
        exit_code=_of_verdicts,
        shown=contract.contract_screen,
        lines=contract.contract_lines,
        suite=lambda it: "contract",
        cases=contract.contract_cases,
        said=contract.contract_answer,
        alone=True,
        rows=lambda it: [_a_row(one, None, scenario="") for one in it["orderings"]],
        about=lambda it: {"machines": it["machines"]},
    ),
    _of_document(
        "amplification",
        "an amplification",
        "amplification.json",
        {amplification.SCHEMA: amplification.AmplificationShape},
        model=RACED,
        exit_code=_of_verdicts,
        shown=amplification.amplification_screen,
        lines=lambda it: map(amplification.amplified_line, it["orderings"]),
        suite=lambda it: str(it["scenario"]["name"]),
        cases=amplification.amplification_cases,
        rows=lambda it: _raced_rows(it, it["orderings"]),
        about=lambda it: {key: value for key, value in it["scenario"].items() if key != "seed"},
    ),
    _of_document(
        "selftest",
        "a selftest",
        "selftest.json",
        {selftest.SCHEMA: shape.SelftestShape},
        model=RACED,
        exit_code=lambda it: selftest.selftest_exit_code(it["claims"]),
        shown=lambda it: selftest.selftest_screen(it["claims"]),
        tables=lambda it: (selftest.selftest_table(it["claims"]),),
        lines=lambda it: selftest.selftest_lines(it["claims"]),
        suite=lambda it: "selftest",
        cases=lambda it: selftest.selftest_cases(it["claims"]),
        alone=True,
        rows=lambda it: [_a_row(one, one["race"], scenario="") for one in it["claims"]],
    ),
)


BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


def kind_in(directory: Path) -> Kind:
    """The kind of the result in a directory, a run where there is none. Raises StoreError where there are several."""
    there = [kind for kind in KINDS if (directory / kind.file).exists()]
    if len(there) > 1:
        expected, found = (" or ".join(kind.what for kind in there), " and ".join(kind.file for kind in there))
        raise StoreError(f"{directory}: expected {expected}, found {found}; move one of them away")
    return there[0] if there else KINDS[0]


def unlike(kind: Kind, first: Any, second: Any) -> str:
    """What keeps two results of this kind from being held against each other, in one line, or ""."""
    sides = kind.about(first), kind.about(second)
    differing = [key for key in dict.fromkeys((*sides[0], *sides[1])) if sides[0].get(key) != sides[1].get(key)]
    told = [f"{key} {sides[0].get(key, 'not told')} in A, {sides[1].get(key, 'not told')} in B" for key in differing]
    return f"not comparable: {'; '.join(told)}" if told else ""


def changed(kind: Kind, first: Any, second: Any) -> Table:
    """A row for each case whose verdict or reason is another in B than in A, marked where it passed and does not."""
    before, after = ({case.name: case for case in kind.cases(one)} for one in (first, second))
    rows: list[tuple[str, ...]] = []
    worse: set[int] = set()
    for name in dict.fromkeys((*before, *after)):
        sides = before.get(name), after.get(name)
        told = [one.told if one else "-" for one in sides]
        if told[0] != told[1]:
            passed = [one is not None and one.state == "passed" for one in sides]
            worse |= {len(rows)} if passed == [True, False] else set()
            rows.append((name, *told))
    return Table("", ("CASE", "A", "B"), tuple(rows), marked=frozenset(worse))


def json_schemas(kind: Kind) -> dict[str, Any]:
    """What others may rely on in its documents, as JSON Schema, by what `schema` says in them."""
    return {name: model.model_json_schema() for name, model in kind.models.items()}
