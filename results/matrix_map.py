"""The picture of a matrix: a heat map, a row a fault, a column an ordering; a frame where the fault adds something."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from results.matrix import NO_FAULT, broken_name, faults_of, orderings_of
from results.plot_style import DPI, LINE_IN, MODEL, parameters
from results.wording import count, plural

# From light to dark as from safe to stale, in grey too; hatched where that is not enough.
LOOKS = {
    "safe": ("#DCEBF3", "", "#222222"),
    "refused": ("#E8A33D", "", "#222222"),
    "stuck": ("#B79AD6", "xx", "#222222"),
    "broken": ("#8FBF86", "..", "#222222"),
    "stale": ("#8E1B16", "", "white"),
    "open": ("#FFFFFF", "//", "#222222"),
}
SHORT = {
    "tracking_not_done": "untracked", "previous_epoch_busy": "epoch busy", "use_after_remove": "reuse",
    "stale_after_done": "stale", "busy_given_up": "busy", "no_progress": "stuck", "not_blocked": "not blocked",
    "refcount_broken": "refcount", "entry_state_incorrect": "state", "already_blocked": "blocked",
}  # fmt: skip
EDGE, ADDED = "#FFFFFF", "#000000"
WIDTH_IN, LEFT_IN, ROW_IN, HEAD_IN, NAMES_IN = 16.0, 2.2, 0.37, 0.8, 0.55


def matrix_picture(matrix: Mapping[str, Any], target: Any | IO[bytes], kind: Literal["png", "svg"] = "png") -> None:
    """Draw it; `target` is a path or an open binary file."""
    cells, names = matrix["pairs"], orderings_of(matrix["pairs"])
    faults = [NO_FAULT, *faults_of(cells)]
    foot = textwrap.wrap(_foot(matrix), 200)
    body, foot_in = ROW_IN * len(faults), LINE_IN * (len(foot) + 2.4)
    height = HEAD_IN + NAMES_IN + body + foot_in
    with parameters():
        figure = Figure(figsize=(WIDTH_IN, height))
        figure.text(0.012, 1 - 0.16 / height, _title(matrix), fontsize=15, fontweight="bold", va="top")
        subtitle = (
            "A column: an ordering; a row: a fault of the module or of KVM. In a cell: the gravest outcome, and the"
            " steps of its shortest schedule. Framed: the fault adds an outcome to the ordering."
        )
        figure.text(0.012, 1 - 0.5 / height, subtitle, fontsize=10, color="#444444", va="top")
        left, wide = LEFT_IN / WIDTH_IN, 1 - (LEFT_IN + 0.2) / WIDTH_IN
        ax = figure.add_axes((left, foot_in / height, wide, body / height))
        _draw(ax, cells, faults, names)
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
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.006, (foot_in - 0.05) / height), ncols=len(shown)
        )
        figure.text(
            0.012, LINE_IN * (len(foot) + 0.1) / height, "\n".join(foot), fontsize=8.5, color="#444444", va="top"
        )
        FigureCanvasAgg(figure)
        figure.savefig(target, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)


def _draw(ax: Axes, cells: Sequence[Mapping[str, Any]], faults: Sequence[str], names: Sequence[str]) -> None:
    ax.set(xlim=(0, len(names)), ylim=(len(faults), 0))
    for cell in cells:
        column, row = names.index(cell["ordering"]), faults.index(cell["fault"])
        colour, hatch, ink = LOOKS[cell["verdict"]]
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, hatch=hatch, edgecolor=EDGE, linewidth=0.8))
        if cell["added"]:
            ax.add_patch(
                Rectangle((column + 0.03, row + 0.08), 0.94, 0.84, facecolor="none", edgecolor=ADDED, linewidth=1.6)
            )
        text = cell["verdict"] if cell["outcome"] is None else f"{_short(cell['outcome'])} {cell['steps']}"
        ax.text(column + 0.5, row + 0.5, text, fontsize=7.6, color=ink, ha="center", va="center")
    ax.xaxis.tick_top()
    ax.set_xticks([place + 0.5 for place in range(len(names))], [broken_name(name) for name in names], fontsize=8.5)
    ax.set_yticks([place + 0.5 for place in range(len(faults))], faults, fontsize=9)
    ax.get_yticklabels()[0].set_fontweight("bold")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _short(outcome: str) -> str:
    return SHORT.get(outcome, outcome.replace("_", " "))


def _title(matrix: Mapping[str, Any]) -> str:
    alone = sum(bool(its) for its in matrix["breaks_a_right_order"].values())
    faults = len(matrix["breaks_a_right_order"])
    return f"{alone} of {plural(faults, 'fault')} break a right order; {len(matrix['hidden'])} show only in a wrong one"


def _foot(matrix: Mapping[str, Any]) -> str:
    explored, largest = matrix["explored"], matrix["machines"][-1]
    size = ", ".join(
        plural(largest[f"{noun}s"], noun if noun != "vcpu" else "vCPU") for noun in ("vcpu", "zapper", "page")
    )
    return (
        f"{MODEL} Every interleaving of {len(matrix['machines'])} machines, the largest {size}: "
        f"{count(explored['states'])} states. A status ends a zapper, as KVM_BUG_ON does."
    )
