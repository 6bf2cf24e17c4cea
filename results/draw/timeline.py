"""The picture of a schedule: a lane an actor, calls and stays in the guest as bars, and where it fails.

Time is counted in steps. Below the actors stand the words that decide: TD epoch and reference counts, S-EPT entries,
TLB entries, the gate, what a zapper takes for done.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from kernels.story.events import RETURNED, Kind, Span, Story
from kernels.tdx.outcomes import Outcome
from results.draw.sheet import LINE_IN, MODEL
from results.exchange.columns import failing_step
from results.verdict import why

RED, INK, PALE = "#B3001B", "#222222", "#6B6B6B"
GUEST, SHOOTDOWN = "#CFE6F5", "#EFEFEF"
# Colour and short name by the name of a stretch; dark ones take white text.
BARS = {
    "TDH.MEM.RANGE.BLOCK": ("#22325F", "BLOCK"), "TDH.MEM.TRACK": ("#2F7F95", "TRACK"),
    "TDH.MEM.PAGE.REMOVE": ("#7A5B8E", "REMOVE"), "TDH.MEM.PAGE.AUG": ("#4F6D3A", "AUG"),
    "TDH.VP.ENTER": ("#0072B2", "VP.ENTER"), "TDG.MEM.PAGE.ACCEPT": ("#009E73", "ACCEPT"), "kick": ("#F2C76E", "kick"),
    "TD exit": ("#BDBDBD", "TD exit"),
}  # fmt: skip
HOST = "#D8D8D8"
SHORT = {
    "claims a page": "claim", "takes mmu_lock for write": "lock", "takes mmu_lock for read": "lock",
    "raises the gate": "gate up", "lowers the gate": "gate down", "maps the page again": "map",
    "handles requests": "req", "waits at the gate": "gate", "keeps vCPUs out": "keep out",
    "lets vCPUs in": "let in", "backs out": "back out",
}  # fmt: skip
WAITS = {"takes mmu_lock for write": "waits for mmu_lock", "takes mmu_lock for read": "waits for mmu_lock"}
LEFT_IN, RIGHT_IN, LANE_IN, WORD_IN, GAP_IN = 1.55, 0.3, 0.62, 0.34, 0.2
CHAR_IN = 0.074  # of the labels in bars
MOST_STRIPS = 4
DECIDING = ("epoch_tracking", "gate", "wait_for_sept_zap")  # beside entries, and what a zapper takes for done


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a word held from one step to another."""

    start: int
    end: int
    text: str


def timeline(story: Story, outcome: str, title: str) -> Figure:
    """The picture of a story that shows this outcome."""
    words = list(_words(story))
    steps = len(story.events)
    width = min(max(11.0, 0.17 * steps + LEFT_IN + RIGHT_IN), 30.0)
    said = textwrap.wrap(_failure(story, outcome), round(width * 9.5))
    body = LANE_IN * (len(story.actors) + 0.05) + GAP_IN + WORD_IN * len(words)
    head, foot = 0.62 + LINE_IN * len(said), 1.02
    height = head + body + foot
    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((LEFT_IN / width, foot / height, 1 - (LEFT_IN + RIGHT_IN) / width, body / height))
    _axes(ax, story, words, body)
    per_step = (width - LEFT_IN - RIGHT_IN) / max(steps, 1)
    for place, actor in enumerate(story.actors):
        _lane(ax, story, actor, len(story.actors) - place - 1, per_step)
    for place, (_, stretches) in enumerate(words):
        _strip(ax, stretches, _strip_at(place), per_step)
    _mark(ax, story, outcome)
    figure.text(0.16 / width, 1 - 0.12 / height, title, fontsize=14, fontweight="bold", va="top", color=INK)
    figure.text(0.16 / width, 1 - 0.47 / height, "\n".join(said), fontsize=10, va="top", color=RED)
    _legend(figure, width, height)
    return figure


def _failure(story: Story, outcome: str) -> str:
    """The failure in one sentence, as far as a step shows it."""
    reason = why(outcome) if outcome in Outcome.__members__ else outcome
    step = failing_step(story, outcome)
    if step is None:
        stands = "; ".join(f"{actor} {'at ' * (where != RETURNED)}{where}" for actor, where in story.stands.items())
        return f"After step {len(story.events)}: {reason}. {stands}."
    event = story.events[step - 1]
    said = [one.says for one in story.events[:step] if one.actor == event.actor and one.says]
    what = f"{event.leaf} = {event.status}" if event.leaf else said[-1] if said else event.label
    return f"Step {step}, {event.actor}: {what}. {outcome}: {reason}."


def _axes(ax: Axes, story: Story, words: Sequence[tuple[str, list[Stretch]]], body: float) -> None:
    lanes = len(story.actors)
    ax.set_xlim(0, len(story.events) + 0.35)
    ax.set_ylim(lanes - 0.45 - body / LANE_IN, lanes - 0.45)
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    places = [lanes - place - 1.0 for place in range(lanes)]
    places += [_strip_at(place) for place in range(len(words))]
    ax.set_yticks(places, [*story.actors, *(name for name, _ in words)])
    for label in ax.get_yticklabels()[:lanes]:
        label.set_fontweight("bold")
    for label in ax.get_yticklabels()[lanes:]:
        label.set_fontsize(8.5)
        label.set_color(PALE)
    ax.tick_params(axis="y", length=0)
    steps = len(story.events)
    ax.set_xticks([tick for tick in MaxNLocator(integer=True, nbins=16).tick_values(0, steps) if 0 <= tick <= steps])
    ax.set_xlabel("steps taken")


def _strip_at(place: int) -> float:
    """Where a word's strip lies, below the lane at 0."""
    return -0.5 - (0.6 * GAP_IN + (place + 0.5) * WORD_IN) / LANE_IN


def _lane(ax: Axes, story: Story, actor: str, y: int, per_step: float) -> None:
    """One actor: what it is inside of as a band, its calls as bars, its steps as ticks."""
    ax.axhline(y - 0.5, color="#E4E4E4", linewidth=0.8, zorder=0)
    for span in story.spans:
        if span.actor == actor and span.end > span.start:
            _bar(ax, story, span, y, per_step)
    at = [(step + 0.5, event) for step, event in enumerate(story.events) if event.actor == actor]
    for wrote, colour in ((False, "#9A9A9A"), (True, INK)):
        xs = [x for x, event in at if bool(event.access and event.access.changed) is wrote]
        ax.plot(xs, [y - 0.4] * len(xs), "|", color=colour, markersize=5, markeredgewidth=1.3, zorder=5)


def _bar(ax: Axes, story: Story, span: Span, y: int, per_step: float) -> None:
    width = span.end - span.start
    if span.kind in (Kind.guest, Kind.shootdown):
        colour = GUEST if span.kind is Kind.guest else SHOOTDOWN
        ax.add_patch(Rectangle((span.start, y - 0.33), width, 0.72, facecolor=colour, linewidth=0, zorder=1))
        if span.kind is Kind.guest:
            above = 0.26 if _inside(story, span) else 0.06
            _fitted(ax, ("in the guest", "guest"), span.start + width / 2, y + above, width * per_step, INK)
        return
    waits = span.kind is Kind.wait and width > 1
    colour, name = BARS.get(span.name, (HOST, SHORT.get(span.name, span.name)))
    failed = bool(span.status) and span.status != "SUCCESS"
    low, tall = (y - 0.2, 0.42) if span.kind is not Kind.wait or span.depth == 0 else (y - 0.17, 0.36)
    patch = Rectangle(
        (span.start + 0.06, low), width - 0.12, tall, facecolor="white" if waits else colour,
        edgecolor=RED if failed else "#8A6A1F" if waits else "white", hatch="////" if waits else None,
        linewidth=1.8 if failed else 0.6, zorder=2 + span.depth * 0.1,
    )  # fmt: skip
    ax.add_patch(patch)
    texts: tuple[str, ...] = (WAITS.get(span.name, span.name), "waits") if waits else (name, name.partition(" ")[0])
    if failed:
        texts = (f"{name}: {span.status}", f"{name}: {span.status.partition('|')[0]}", f"{name} refused", name)
    light = colour in ("#F2C76E", "#BDBDBD", HOST) or waits
    backing = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if waits else None
    if not _inside(story, span):
        _fitted(ax, texts, span.start + width / 2, low + tall / 2, width * per_step, INK if light else "white", backing)
    elif span.kind is Kind.kick:
        _fitted(ax, texts, span.start + 0.2, y + 0.3, width * per_step, INK, None, "left")


def _inside(story: Story, outer: Span) -> bool:
    """Whether a stretch holds one that is drawn in it."""
    return any(
        span.actor == outer.actor
        and span.depth > outer.depth
        and outer.start <= span.start
        and span.end <= outer.end
        and span.end - span.start > 1
        for span in story.spans
    )


def _fitted(
    ax: Axes,
    texts: Sequence[str],
    x: float,
    y: float,
    room_in: float,
    colour: str,
    backing: dict[str, Any] | None = None,
    align: Literal["left", "center"] = "center",
) -> None:
    """The first of these texts that fits, smaller where that helps; none where none does."""
    for text in texts:
        for size in (8.5, 7.5, 6.5):
            if len(text) * CHAR_IN * size / 8.5 <= room_in:
                ax.text(x, y, text, ha=align, va="center", fontsize=size, color=colour, zorder=6, bbox=backing)
                return


def _words(story: Story) -> Iterator[tuple[str, list[Stretch]]]:
    """The words that decide, each with what it held from step to step; those that never changed are left out."""
    accesses = [access for event in story.events for access in (event.access, *event.own)]
    changed = {access.word for access in accesses if access and access.changed}
    names = [name for name in DECIDING if name in changed]
    for many in ("sept[", "tlb[", "stage["):
        names += sorted(name for name in changed if name.startswith(many))[:MOST_STRIPS]
    for name in names:
        yield name, _stretches(story, name)


def _stretches(story: Story, word: str) -> list[Stretch]:
    """What the word held; an S-EPT entry without its lock, which is held in every call."""
    seen: list[Stretch] = []
    start, text = 0, ""
    for step, event in enumerate(story.events):
        for access in (event.access, *event.own):
            if access and access.word == word:
                text = text or _plain(access.before)
                if _plain(access.after) != text:
                    seen.append(Stretch(start, step + 1, text))
                    start, text = step + 1, _plain(access.after)
    return [*seen, Stretch(start, len(story.events), text)]


def _plain(reading: str) -> str:
    return reading.replace(" locked", "").replace(" HP", "")


def _strip(ax: Axes, stretches: Sequence[Stretch], y: float, per_step: float) -> None:
    shades = ("#F4F4F4", "#E3E3E3")
    tall = 0.8 * WORD_IN / LANE_IN
    for place, one in enumerate(stretches):
        width = one.end - one.start
        corner = (one.start, y - tall / 2)
        ax.add_patch(Rectangle(corner, width, tall, facecolor=shades[place % 2], edgecolor="white", linewidth=1))
        short = one.text.partition(" ")[0] if one.text.startswith(("MAPPED", "BLOCKED", "PENDING")) else one.text
        _fitted(ax, (one.text, short), one.start + width / 2, y, width * per_step, INK)


def _mark(ax: Axes, story: Story, outcome: str) -> None:
    """The moment of failure: a line through all lanes, a cross on the actor's."""
    step = failing_step(story, outcome)
    ax.axvline(step or len(story.events), color=RED, linewidth=1.4, linestyle=(0, (4, 2)), zorder=7)
    if step is None:
        return
    actor = story.events[step - 1].actor
    lane = len(story.actors) - story.actors.index(actor) - 1
    ax.plot(
        [step], [lane + 0.34], marker="X", markersize=11, color=RED, markeredgecolor="white", zorder=8, clip_on=False
    )


def _legend(figure: Figure, width: float, height: float) -> None:
    handles = [
        Patch(facecolor=GUEST, label="in the guest"),
        Patch(facecolor=SHOOTDOWN, label="shootdown"),
        Patch(facecolor="#2F7F95", label="SEAMCALL or TDCALL, a colour each"),
        Patch(facecolor="white", edgecolor=RED, linewidth=1.8, label="refused"),
        Patch(facecolor=HOST, label="KVM"),
        Patch(facecolor="white", edgecolor="#8A6A1F", hatch="////", label="waits"),
        _tick(INK, "step that wrote"),
        _tick("#9A9A9A", "step that looked"),
    ]
    figure.legend(
        handles=handles, loc="lower left", ncols=len(handles), bbox_to_anchor=(0.1 / width, 0.2 / height),
        columnspacing=1.3, handlelength=1.6, fontsize=8.5,
    )  # fmt: skip
    figure.text(0.16 / width, 0.1 / height, MODEL, fontsize=8.5, color=PALE, va="bottom")


def _tick(colour: str, label: str) -> Any:
    return Line2D([], [], color=colour, marker="|", linestyle="", markersize=7, markeredgewidth=1.5, label=label)
