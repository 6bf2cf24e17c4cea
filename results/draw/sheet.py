"""A picture with a head that says what ran where, and a foot with legends and caveats."""

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure, SubFigure

from kernels.tdx.rules import Flow, has_part
from results.draw.style import parameters, shortened
from results.words import conditions, machine_size, plural

WIDTH_IN, DPI = 13.0, 110
LINE_IN, HEAD_IN = 0.21, 0.72
MOST_TOLD = 6  # caveats
CANVASES = {"png": FigureCanvasAgg, "svg": FigureCanvasSVG}
MODEL = "A model of the protocol, not Intel silicon."


def drawn(makers: Mapping[str, Callable[[], Figure]], kinds: Iterable[str] = ("png", "svg")) -> dict[str, bytes]:
    """Each of these pictures in each of these formats, by file name: `png` for screens, `svg` or `pdf` for paper. A
    maker is called within `parameters()`.
    """
    files: dict[str, bytes] = {}
    for name, make in makers.items():
        with parameters():
            figure = make()
            files |= {f"{name}.{kind}": saved(figure, kind) for kind in kinds}
    return files


def saved(figure: Figure, kind: str) -> bytes:
    """The file of a figure, the same bytes whenever that is, but for the names of clip paths in an SVG.

    It is laid out once, so that every format of it is alike, and drawn once a format: `savefig` draws it twice.
    """
    content = io.BytesIO()
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure)
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    canvas = CANVASES.get(kind) or import_module("matplotlib.backends.backend_pdf").FigureCanvasPdf  # hardly ever asked
    getattr(canvas(figure), f"print_{kind}")(content, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()


def head_and_foot(figure: Figure, title: str, subtitle: str, foot: Sequence[str], foot_at_in: float) -> None:
    """The title, what stands below it, and the lines at the bottom, of a figure that is laid out by hand."""
    left, height = 0.012, figure.get_size_inches()[1]
    figure.text(left, 1 - 0.16 / height, title, fontsize=15, fontweight="bold", va="top")
    figure.text(left, 1 - 0.5 / height, subtitle, fontsize=10, color="#444444", va="top")
    figure.text(left, foot_at_in / height, "\n".join(foot), fontsize=8.5, color="#444444", va="top")


def sheet(
    result: Mapping[str, Any],
    title: str,
    body_in: float,
    handles: Sequence[Any],
    keys: Sequence[Any] = (),
    key_title: str = "",
    head_text: str = "",
    model: str = MODEL,
    *,
    by_hand: bool = False,
) -> tuple[Figure, SubFigure]:
    """A figure with its head, and a foot with a legend of orderings, one of `keys`, and the caveats; and its body.

    The head says what ran where, or `head_text`; the foot begins with what the `model` is. Panels are laid out by
    matplotlib, which looks at every text for that, or `by_hand`, in half the time.
    """
    columns = 3 if not keys else 1 if len(handles) <= 3 else 2
    rows = max(math.ceil(len(handles) / columns), math.ceil(len(keys) / 2) + 1 if keys else 0, 1)
    caveats = _caveat_text(result, model)
    legend_in, foot_in = LINE_IN * rows + 0.22, LINE_IN * 0.86 * len(caveats) + 0.12
    height = HEAD_IN + body_in + legend_in + foot_in
    figure = Figure(figsize=(WIDTH_IN, height))
    if not by_hand:
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.05)
    parts: Any = figure.subfigures(4, 1, height_ratios=[HEAD_IN, body_in, legend_in, foot_in])
    head, body, legend, foot = parts
    left = 0.16 / WIDTH_IN
    head.text(left, 0.88, title, fontsize=15, fontweight="bold", va="top")
    head.text(left, 0.34, head_text or subtitle(result), fontsize=10, color="#444444", va="top")
    legend.legend(handles=list(handles), loc="upper left", ncols=columns, bbox_to_anchor=(0.005, 1.0), handlelength=3.2)
    if keys:
        second = legend.legend(
            handles=list(keys), loc="upper right", ncols=3, bbox_to_anchor=(0.995, 1.0), title=key_title,
            alignment="left",
        )  # fmt: skip
        second.get_title().set_fontsize(9)
    foot.text(left, 0.98, "\n".join(caveats), fontsize=8.5, color="#444444", va="top", linespacing=1.25)
    return figure, body


def subtitle(result: Mapping[str, Any]) -> str:
    """What ran where: scenario, actors, machine."""
    scenario, host = result["scenario"], result["host"]
    parts = [
        str(scenario.get("name", "run")),
        ", ".join(machine_size({"vcpus": 0, "zappers": 0, **scenario})),
        f"{plural(scenario.get('pages', 0), 'page')}",
    ]
    if has_part(scenario.get("flow", "shootdown"), Flow.BATCH):
        parts.append(f"batches of {plural(scenario.get('batch', 1), 'page')}")
    if scenario.get("rate"):
        parts.append(f"open loop at {scenario['rate']:,.10g} shootdowns/s")
    parts += conditions(scenario, result.get("runs", ()), ("pages", "batch", "rate"))
    cpus = host.get("cpus_allowed")
    if scenario.get("vcpus", 0) + scenario.get("zappers", 0) > (cpus or 0):
        parts.append("placed apart" if scenario.get("placement") == "apart" else "mixed by Linux")
    where = f"{host.get('cpu_model') or 'unknown CPU'}" + (f", {plural(cpus, 'CPU')}" if cpus else "")
    return shortened("; ".join([*parts, where]), 150)


def _caveat_text(result: Mapping[str, Any], model: str) -> list[str]:
    """The caveat line, wrapped to the sheet: always what the model is, then what was seen."""
    seen = [shortened(caveat["seen"], 120) for caveat in result["caveats"]]
    more = [f"{len(seen) - MOST_TOLD} more in result.json"] if len(seen) > MOST_TOLD else []
    said = f"{model} Caveats: {'; '.join([*seen[:MOST_TOLD], *more])}." if seen else model
    return textwrap.wrap(said, 205)
