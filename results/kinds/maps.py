"""The pictures of an atlas and of a matrix; `results.draw.sheet.drawn` makes files of them.

An atlas is a map of all orders, and the safe ones by latency. The map is a tree of what may come next, drawn from left
to right. A branch ends where every order below it is safe, or none is; steps after which it is the same stand together,
and the bar shows by which verdicts. So every order is a way through it, and few rows hold all.

A matrix is a heat map, a row a fault, a column an ordering; a frame where the fault adds something.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from kernels.tdx.outcomes import Outcome
from results.draw.sheet import LINE_IN, MODEL, head_and_foot
from results.draw.style import time_text
from results.kinds.faults import (
    NO_FAULT,
    beside_no_right_order,
    breaks_a_right_order,
    heads_of,
    hidden,
    rows_of,
)
from results.kinds.orders import OrderVerdict, base_of, kind_of, kinds
from results.words import count, machine_size, plural

Entry = Mapping[str, Any]
SAFE, MIXED, INK, EDGE = "#0B5D8A", "#F1F1F1", "#222222", "#8A8A8A"
# From light to dark, each with a hatch of its own, so that they are told apart in grey.
OTHERS = (("#F6D9A8", ""), ("#E8A0A0", "///"), ("#DDBE9A", "..."), ("#C9B6DD", "xxx"), ("#9E9E9E", "---"))
SHORT_STEPS = {"gate_raise": "raise", "gate_lower": "lower"}
ROW_IN, BAR_IN, HEAD_IN, MOST_BARS = 0.25, 0.27, 0.85, 24
WIDTH_IN = 15.0


@dataclass(frozen=True, slots=True)
class Box:
    """A step, or several after which it is the same, at one place of the order, over so many rows.

    `ends`: how many orders of each kind end here; empty where the way goes on.
    """

    place: int
    row: int
    rows: int
    steps: tuple[str, ...]
    ends: Mapping[str, int]


def boxes(entries: Sequence[Entry]) -> list[Box]:
    """The map of these orders, which are all of the same steps."""
    found: list[Box] = []
    _branch(entries, 0, 0, found)
    return found


def _branch(entries: Sequence[Entry], place: int, row: int, found: list[Box]) -> int:
    """Lay out what comes at this place from this row on; returns how many rows it takes."""
    below: dict[str, list[Entry]] = {}
    for entry in entries:
        below.setdefault(entry["order"][place], []).append(entry)
    ends: dict[bool, list[str]] = {True: [], False: []}
    begun = row
    for step, its in below.items():
        safe = {one["verdict"] == OrderVerdict.safe for one in its}
        if len(safe) == 1:
            ends[safe.pop()].append(step)
            continue
        rows = _branch(its, place + 1, row, found)
        found.append(Box(place, row, rows, (step,), {}))
        row += rows
    for steps in filter(None, ends.values()):
        counts = Counter(kind_of(one) for step in steps for one in below[step])
        found.append(Box(place, row, 1, tuple(steps), dict(counts)))
        row += 1
    return row - begun


def how_many_are_safe(entries: Sequence[Entry]) -> str:
    """Of those that were decided; how many were not."""
    safe, left = (sum(one["verdict"] == it for one in entries) for it in (OrderVerdict.safe, OrderVerdict.open))
    told = (
        f"{safe} of {plural(len(entries) - left, 'order')} of a shootdown's steps {'is' if safe == 1 else 'are'} safe"
    )
    return told + (f"; {left:,} open" if left else "")


def atlas_picture(atlas: Mapping[str, Any]) -> Figure:
    """The map, and beside it the races where there are any."""
    orders = atlas["orders"]
    laid = boxes(orders)
    rows = max(box.row + box.rows for box in laid)
    others = iter(OTHERS * 4)
    fixed = {OrderVerdict.safe.value: (SAFE, ""), OrderVerdict.open.value: ("#FFFFFF", "")}
    styles = {it.kind: fixed.get(it.kind) or next(others) for it in kinds(orders)}
    raced = [entry for entry in (atlas["races"] or {}).get("orders", ()) if entry["p50_ns"]]
    # The fastest, and the known wherever they stand.
    races = [entry for rank, entry in enumerate(raced) if rank < MOST_BARS or entry["known"]]
    caveats = "; ".join(caveat["seen"] for caveat in atlas["caveats"])
    foot = textwrap.wrap(MODEL + f" Caveats: {caveats}." * bool(caveats), 190)
    foot_in = LINE_IN * (2.4 + len(foot))
    bars_in = BAR_IN * (len(races) + 1)
    body = max(ROW_IN * (rows + 1.2), bars_in + 0.8, 2.0)
    height = HEAD_IN + body + foot_in
    figure = Figure(figsize=(WIDTH_IN, height))
    subtitle = (
        f"All else as in {base_of(atlas)}. From left to right: the step that comes first, second, ...; "
        "a branch ends where every order below it is safe, or none is."
    )
    head_and_foot(figure, how_many_are_safe(orders), subtitle, foot, LINE_IN * (len(foot) + 0.3))
    tree_in = ROW_IN * (rows + 1.2)
    tree = (0.012, (foot_in + body - tree_in) / height, 0.55 if races else 0.976, tree_in / height)
    _draw_map(figure.add_axes(tree), laid, rows, len(atlas["steps"]), styles)
    if races:
        beside = (0.775, (foot_in + body - bars_in - 0.3) / height, 0.21, bars_in / height)
        _draw_races(figure.add_axes(beside), races)
    counts = (plural(it.orders, "order") for it in kinds(orders))
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=EDGE, label=f"{kind} ({its})")
        for (kind, (colour, hatch)), its in zip(styles.items(), counts, strict=True)
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.006, foot_in / height), ncols=len(handles))
    return figure


Look = tuple[str, str]


def _draw_map(ax: Axes, laid: Sequence[Box], rows: int, places: int, styles: Mapping[str, Look]) -> None:
    ax.set(xlim=(0, places), ylim=(rows, -1.2))
    ax.axis("off")
    for place in range(places):
        ax.text(place + 0.06, -0.35, f"step {place + 1}", fontsize=9, color="#444444", va="center")
    for box in laid:
        width = places - box.place if box.ends else 1.0
        left, whole, height = box.place + 0.03, width - 0.06, box.rows - 0.12
        orders = sum(box.ends.values())
        for kind, (colour, hatch) in styles.items():
            part = whole * box.ends.get(kind, 0) / max(orders, 1)
            if part:
                where = (left, box.row + 0.06)
                ax.add_patch(Rectangle(where, part, height, facecolor=colour, hatch=hatch, edgecolor=EDGE, linewidth=0))
                left += part
        frame = (box.place + 0.03, box.row + 0.06)
        face = "none" if box.ends else MIXED
        ax.add_patch(Rectangle(frame, whole, height, facecolor=face, edgecolor=EDGE, linewidth=0.7))
        _name(ax, box, orders)


def _name(ax: Axes, box: Box, orders: int) -> None:
    steps = " or ".join(SHORT_STEPS.get(step, step) for step in box.steps)
    text = f"{steps}: {plural(orders, 'order')}" if box.ends else steps
    safe = OrderVerdict.safe in box.ends
    behind: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
    ax.text(
        box.place + 0.1, box.row + box.rows / 2, text, fontsize=9, fontweight="bold" if safe else "normal",
        color="white" if safe else INK, va="center", bbox=behind if box.ends and not safe else None,
    )  # fmt: skip


def _draw_races(ax: Axes, shown: Sequence[Entry]) -> None:
    for row, entry in enumerate(shown):
        found, known = entry["p50_ns"], entry["known"]
        colour = "#D55E00" if known else SAFE
        ax.plot(
            [found["low"], found["high"]], [row, row], color=colour, linewidth=2.4, alpha=0.55, solid_capstyle="butt"
        )
        ax.plot(found["median"], row, marker="D" if known else "o", color=colour, markersize=6, markeredgecolor="white")
    names = [
        entry["name"] if entry["known"] else " ".join(SHORT_STEPS.get(s, s) for s in entry["order"]) for entry in shown
    ]
    ax.set_yticks(range(len(shown)), names, fontsize=8)
    for label, entry in zip(ax.get_yticklabels(), shown, strict=True):
        label.set_fontweight("bold" if entry["known"] else "normal")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(0, max(entry["p50_ns"]["high"] for entry in shown) * 1.06)
    ax.xaxis.set_major_formatter(lambda value, _: time_text(value) if value else "0")
    ax.locator_params(axis="x", nbins=5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set_title("p50 of a shootdown, 95 % over rounds", fontsize=10, loc="right")


# From light to dark as from safe to stale, in grey too; hatched where that is not enough.
LOOKS = {
    "safe": ("#DCEBF3", "", "#222222"), "refused": ("#E8A33D", "", "#222222"), "stuck": ("#B79AD6", "xx", "#222222"),
    "broken": ("#8FBF86", "..", "#222222"), "stale": ("#8E1B16", "", "white"), "unread": ("#F4F4F4", "", "#777777"),
    "open": ("#FFFFFF", "//", "#222222"),
}  # fmt: skip
CELL_EDGE, ADDED = "#FFFFFF", "#000000"
# At the most, and of a column where there are few, but no less than the sentences take.
MATRIX_IN, COLUMN_IN, LEAST_IN = 16.0, 1.3, 11.0
LEFT_IN, FAULT_IN, MATRIX_HEAD_IN, NAMES_IN = 2.6, 0.37, 0.8, 0.68


def matrix_picture(matrix: Mapping[str, Any]) -> Figure:
    cells, heads = matrix["pairs"], heads_of(matrix)
    rows = rows_of(cells)
    columns_in = min(COLUMN_IN * len(heads), MATRIX_IN - LEFT_IN - 0.2)
    across = max(LEFT_IN + columns_in + 0.2, LEAST_IN)
    foot = textwrap.wrap(_matrix_foot(matrix), round(12.5 * across))
    head = textwrap.wrap(
        "A column: an ordering; a row: a fault, the module's or KVM's, by its flow. In a cell: the gravest outcome,"
        " and the steps of its shortest schedule. Framed: the fault adds an outcome to the ordering.",
        round(13 * across),
    )
    body, foot_in = FAULT_IN * len(rows), LINE_IN * (len(foot) + 4.0)
    height = MATRIX_HEAD_IN + LINE_IN * (len(head) - 1) + NAMES_IN + body + foot_in
    figure = Figure(figsize=(across, height))
    head_and_foot(figure, _matrix_title(matrix), "\n".join(head), foot, LINE_IN * (len(foot) + 0.1))
    left, wide = LEFT_IN / across, columns_in / across
    _draw_matrix(figure.add_axes((left, foot_in / height, wide, body / height)), cells, rows, heads)
    handles = []
    for verdict, (colour, hatch, _) in LOOKS.items():
        if many := matrix["summary"].get(verdict):
            label = f"{verdict}: {matrix['verdicts'][verdict]} ({many})"
            handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor=EDGE, label=label))
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.006, (foot_in - 0.05) / height), ncols=3)
    return figure


def _draw_matrix(
    ax: Axes, cells: Sequence[Mapping[str, Any]], rows: Sequence[tuple[str, str]], heads: Mapping[str, str]
) -> None:
    """`heads`: by ordering, what stands above its column."""
    names = list(heads)
    ax.set(xlim=(0, len(names)), ylim=(len(rows), 0))
    for cell in cells:
        column, row = names.index(cell["ordering"]), rows.index((cell["flow"], cell["fault"]))
        colour, hatch, ink = LOOKS[cell["verdict"]]
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, hatch=hatch, edgecolor=CELL_EDGE, linewidth=0.8))
        if cell["added"]:
            ax.add_patch(
                Rectangle((column + 0.03, row + 0.08), 0.94, 0.84, facecolor="none", edgecolor=ADDED, linewidth=1.6)
            )
        text = cell["verdict"] if cell["outcome"] is None else f"{_short(cell['outcome'])} {cell['steps']}"
        ax.text(column + 0.5, row + 0.5, text, fontsize=6.8, color=ink, ha="center", va="center")
    ax.xaxis.tick_top()
    ax.set_xticks([place + 0.5 for place in range(len(names))], list(heads.values()), fontsize=8.5)
    texts = [f"{flow}, no fault" if fault == NO_FAULT else fault.replace("+", "\n+ ") for flow, fault in rows]
    ax.set_yticks([place + 0.5 for place in range(len(rows))], texts, fontsize=9)
    for place, (label, (_, fault)) in enumerate(zip(ax.get_yticklabels(), rows, strict=True)):
        if fault == NO_FAULT:
            label.set_fontweight("bold")
            ax.axhline(place, color="#222222", linewidth=1.2)
        elif "+" in fault:
            label.set_fontsize(7)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _short(outcome: str) -> str:
    short = Outcome[outcome].short if outcome in Outcome.__members__ else ""
    return short or outcome.replace("_", " ")


def _matrix_title(matrix: Mapping[str, Any]) -> str:
    """What the faults do, each taken alone, as far as these orderings tell it."""
    cells = [one for one in matrix["pairs"] if "+" not in one["fault"]]
    right, only_wrong, unknown = breaks_a_right_order(cells), hidden(cells), beside_no_right_order(cells)
    broken, showing, adding = (sum(map(bool, it.values())) for it in (right, only_wrong, unknown))
    told = [
        f"{broken} of {plural(len(right), 'fault')} break{'s' * (broken == 1)} a right order" if right else "",
        f"{showing} show{'s' * (showing == 1)} only where more is wrong" if showing else "",
        f"{len(only_wrong) - showing} in no order searched" if len(only_wrong) > showing else "",
        f"{plural(len(unknown), 'fault')} searched with no right order" if unknown else "",
        f"{adding} of them add{'s' * (adding == 1)} something to a wrong one" if adding else "",
    ]
    return "; ".join(filter(None, told)) or "No ordering looks for these faults"


def _matrix_foot(matrix: Mapping[str, Any]) -> str:
    explored, machines = matrix["explored"], [one for its in matrix["machines"].values() for one in its]
    most = {key: max(one[key] for one in machines) for key in ("vcpus", "zappers", "pages")}
    return (
        f"{MODEL} Every interleaving of {len(machines)} machines of up to {', '.join(machine_size(most, 'pages'))}: "
        f"{count(explored['states'])} states. A status ends a zapper, as KVM_BUG_ON does."
    )
