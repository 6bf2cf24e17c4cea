"""The picture of a matrix: a heat map, a row a fault, a column an ordering; a frame where the fault adds something."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from results.matrix import NO_FAULT, heads_of, rows_of
from results.plot_style import DPI, LINE_IN, MODEL, parameters
from results.wording import count, plural

# From light to dark as from safe to stale, in grey too; hatched where that is not enough.
LOOKS = {
    "safe": ("#DCEBF3", "", "#222222"),
    "refused": ("#E8A33D", "", "#222222"),
    "stuck": ("#B79AD6", "xx", "#222222"),
    "broken": ("#8FBF86", "..", "#222222"),
    "stale": ("#8E1B16", "", "white"),
    "unread": ("#F4F4F4", "", "#777777"),
    "open": ("#FFFFFF", "//", "#222222"),
}
SHORT = {
    "tracking_not_done": "untracked", "previous_epoch_busy": "epoch busy", "use_after_remove": "reuse",
    "stale_after_done": "stale", "busy_given_up": "busy", "no_progress": "stuck", "not_blocked": "not blocked",
    "refcount_broken": "refcount", "entry_state_incorrect": "state", "already_blocked": "blocked",
    "sept_use_after_free": "astray", "ept_page_not_free": "not free", "ept_walk_failed": "no walk",
    "td_state_incorrect": "TD state", "vcpu_associated": "assoc.", "hkid_leaked": "HKID", "ve_on_memory": "#VE",
}  # fmt: skip
EDGE, ADDED = "#FFFFFF", "#000000"
WIDTH_IN, LEFT_IN, ROW_IN, HEAD_IN, NAMES_IN = 16.0, 2.6, 0.37, 0.8, 0.68


def matrix_picture(matrix: Mapping[str, Any], target: Any | IO[bytes], kind: Literal["png", "svg"] = "png") -> None:
    """Draw it; `target` is a path or an open binary file."""
    cells, heads = matrix["pairs"], heads_of(matrix)
    rows = rows_of(cells)
    foot = textwrap.wrap(_foot(matrix), 200)
    body, foot_in = ROW_IN * len(rows), LINE_IN * (len(foot) + 4.0)
    height = HEAD_IN + NAMES_IN + body + foot_in
    with parameters():
        figure = Figure(figsize=(WIDTH_IN, height))
        figure.text(0.012, 1 - 0.16 / height, _title(matrix), fontsize=15, fontweight="bold", va="top")
        subtitle = (
            "A column: an ordering; a row: a fault, the module's or KVM's, by its flow. In a cell: the gravest outcome,"
            " and the steps of its shortest schedule. Framed: the fault adds an outcome to the ordering."
        )
        figure.text(0.012, 1 - 0.5 / height, subtitle, fontsize=10, color="#444444", va="top")
        left, wide = LEFT_IN / WIDTH_IN, 1 - (LEFT_IN + 0.2) / WIDTH_IN
        ax = figure.add_axes((left, foot_in / height, wide, body / height))
        _draw(ax, cells, rows, heads)
        shown = [verdict for verdict in LOOKS if verdict in matrix["summary"]]
        handles = [
            Patch(
                facecolor=LOOKS[verdict][0],
                hatch=LOOKS[verdict][1],
                edgecolor="#8A8A8A",
                label=f"{verdict}: {matrix['verdicts'][verdict]} ({matrix['summary'][verdict]})",
            )
            for verdict in shown
        ]
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.006, (foot_in - 0.05) / height), ncols=3)
        figure.text(
            0.012, LINE_IN * (len(foot) + 0.1) / height, "\n".join(foot), fontsize=8.5, color="#444444", va="top"
        )
        FigureCanvasAgg(figure)
        figure.savefig(target, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)


def _draw(
    ax: Axes, cells: Sequence[Mapping[str, Any]], rows: Sequence[tuple[str, str]], heads: Mapping[str, str]
) -> None:
    """`heads`: by ordering, what stands above its column."""
    names = list(heads)
    ax.set(xlim=(0, len(names)), ylim=(len(rows), 0))
    for cell in cells:
        column, row = names.index(cell["ordering"]), rows.index((cell["flow"], cell["fault"]))
        colour, hatch, ink = LOOKS[cell["verdict"]]
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, hatch=hatch, edgecolor=EDGE, linewidth=0.8))
        if cell["added"]:
            ax.add_patch(
                Rectangle((column + 0.03, row + 0.08), 0.94, 0.84, facecolor="none", edgecolor=ADDED, linewidth=1.6)
            )
        text = cell["verdict"] if cell["outcome"] is None else f"{_short(cell['outcome'])} {cell['steps']}"
        ax.text(column + 0.5, row + 0.5, text, fontsize=6.8, color=ink, ha="center", va="center")
    ax.xaxis.tick_top()
    ax.set_xticks([place + 0.5 for place in range(len(names))], list(heads.values()), fontsize=8.5)
    texts = [f"flow {flow}" if fault == NO_FAULT else fault.replace("+", "\n+ ") for flow, fault in rows]
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
    return SHORT.get(outcome, outcome.replace("_", " "))


def _title(matrix: Mapping[str, Any]) -> str:
    single = {fault: its for fault, its in matrix["breaks_a_right_order"].items() if "+" not in fault}
    alone = sum(bool(its) for its in single.values())
    hidden = len(single) - alone
    return f"{alone} of {plural(len(single), 'fault')} break a right order; {hidden} show only where more is wrong"


def _foot(matrix: Mapping[str, Any]) -> str:
    explored, machines = matrix["explored"], [one for its in matrix["machines"].values() for one in its]
    most = ", ".join(
        plural(max(one[key] for one in machines), noun)
        for key, noun in (("vcpus", "vCPU"), ("zappers", "zapper"), ("pages", "page"))
    )
    return (
        f"{MODEL} Every interleaving of {len(machines)} machines of up to {most}: "
        f"{count(explored['states'])} states. A status ends a zapper, as KVM_BUG_ON does."
    )
