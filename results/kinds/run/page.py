"""The pictures and the page of a run, from what stands in result.json and raw.npz alone.

The pictures are PNG and SVG. `latency`: how long a shootdown takes, and where the time goes. `stale`: stale reads over
time, their age, and the window in which they are legal. A panel with nothing to show says so. The page says what the
two files say, in the order in which a reader asks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from results.draw.panels import (
    MOST_BANDS,
    STALE,
    Arrays,
    Shown,
    done_by,
    phase_bars,
    shootdown_curves,
    stale_ages,
    stale_over_time,
    strip_heights,
    total,
    window_curves,
)
from results.draw.sheet import WIDTH_IN as SHEET_IN
from results.draw.sheet import sheet, subtitle
from results.draw.style import styles
from results.draw.svg import WIDTH_IN, element, panel, sample, swatch
from results.figures import PHASES, phase_shares
from results.kinds.run.answer import KICK_FIRST, TRACK_FIRST, review_answer
from results.kinds.run.tables import (
    STAMPED,
    caught_rate,
    contention_table,
    outcomes_table,
    percentile_text,
    percentiles_table,
    shares_table,
)
from results.page import (
    READING,
    Card,
    Figure,
    Key,
    Page,
    Section,
    host_table,
    mapping_table,
    orderings_table,
)
from results.verdict import MET, Exit, exit_code, name_of, whole, word_of
from results.words import PHASE_WORDS, described, share


def latency_sheet(result: Mapping[str, Any], arrays: Arrays) -> Drawing:
    """The percentile curve of whole shootdowns, one line an ordering, beside the shares of the phases.

    A curve goes only as far as n gives its percentile a 95 % interval, which is the band around it.
    """
    runs, looks = result["runs"], styles(result["runs"])
    handles = [look.handle(f"{look.name}, n = {whole(run)['n']:,}") for look, run in zip(looks, runs, strict=True)]
    if any("response" in run["latency_ns"] for run in runs):
        handles.append(Line2D([], [], color="#555555", linewidth=1, linestyle=":", label="from the intended start"))
    height = max(4.6, 1.5 + 0.36 * len(runs))
    shown = PHASES.values() if any(map(phase_shares, runs)) else ()
    keys = [Patch(facecolor=c, hatch=h, edgecolor="white", label=label) for label, c, h in shown]
    page, body = sheet(result, "How long a shootdown takes", height, handles, keys, "Share of each phase", by_hand=True)
    names_in = 0.45 + 0.083 * max((len(look.name) for look in looks), default=0)
    each_in = (SHEET_IN - 1.2 - names_in) / 2
    curve, bars = (
        body.add_axes((left / SHEET_IN, 0.75 / height, wide / SHEET_IN, 1 - 1.15 / height))
        for left, wide in ((0.95, each_in + 0.3), (1.25 + each_in + names_in, each_in - 0.4))
    )
    material = Shown(runs, looks, arrays)
    shootdown_curves(curve, material)
    phase_bars(bars, material)
    return page


def stale_sheet(result: Mapping[str, Any], arrays: Arrays) -> Drawing:
    """Stale reads over time by outcome, their age in epochs, and how long they are legal."""
    runs, looks = result["runs"], styles(result["runs"])
    handles, height = [look.handle(look.name) for look in looks], 7.2
    page, body = sheet(result, "Stale reads: when, how old, for how long", height, handles, by_hand=True)
    upright: Any = {"bottom": 0.62 / height, "top": 1 - 0.38 / height}
    heights = strip_heights(runs)
    strips = body.add_gridspec(len(STALE), left=0.07, right=0.54, hspace=0.62, height_ratios=heights, **upright)
    panels: Any = strips.subplots(sharex=True)
    if any(total(runs, outcome) for outcome in STALE):
        body.supylabel("stale reads a second, all vCPUs", x=0.012, fontsize=9.5)
    shown = Shown(runs, looks, arrays)
    stale_over_time(panels, shown)
    right: Any = body.add_gridspec(2, left=0.61, right=0.985, hspace=0.36, **upright).subplots()
    ages, window = right
    stale_ages(ages, shown)
    window_curves(window, shown)
    return page


Run = Mapping[str, Any]
HEADLINES = {
    Exit.MET: ("good", "Passed: every expectation met"),
    Exit.FAILED: ("bad", "Failed: an ordering declared safe showed what is forbidden"),
    Exit.HARNESS: ("bad", "Broken: a worker died, or nothing progressed"),
    Exit.NOTHING_RAN: ("unsure", "Nothing ran"),
    Exit.INCONCLUSIVE: ("unsure", "Inconclusive: this does not count as a pass"),
    Exit.INTERRUPTED: ("unsure", "Interrupted: what was measured until then"),
}
WHOLE, OF_VCPUS = (MET, "shootdown_empty", "response"), ("out_of_guest", "gate_wait")
# Names longer than this widen the panel that they stand beside.
LONG_NAMES_IN = 1.5
CONTENTION = (
    "The module tries its locks and never waits: a try that fails is OPERAND_BUSY, and KVM tries again. Who held the "
    "lock is looked up right behind the failure: whoever has let go by then is gone, different SEAMCALLs that share it "
    "are several.",
    "Tries: the failed ones of a wait that ended with the lock, on average and at most, and the time from the first.",
)


def run_page(result: Mapping[str, Any], arrays: Arrays) -> Page:
    """The page of this result. What a sound result lacks in arrays is an empty panel that says so."""
    runs = result["runs"]
    looks = styles(runs)
    shown = Shown(runs, looks, arrays)
    level, headline = HEADLINES[Exit(exit_code(runs))]
    return Page(
        title=": ".join(filter(None, (result["scenario"]["name"], result["scenario"].get("title")))),
        subtitle=subtitle(result).replace(r"\$", "$"),
        level=level,
        headline=headline,
        cards=tuple(
            Card(name_of(run), word_of(run), run["reason"], described(run), sample(look)) for run, look in shown.each()
        ),
        answer=_answer(result),
        sections=(_latency(shown), _phases(shown), _stale(shown), _outcomes(runs), *_locks(runs)),
        facts=(
            host_table(result["host"]),
            mapping_table("The scenario", result["scenario"], folded=True),
            orderings_table(
                ((name_of(run), run["shootdown"], described(run), run.get("source", "")) for run in runs),
                folded=len(runs) > 4,
            ),
        ),
        result=result,
        reading=READING,
    )


def _answer(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The review's answer where both of its orders ran; else a sentence for each ordering."""
    names = {run["ordering"] for run in result["runs"]}
    if {TRACK_FIRST, KICK_FIRST} <= names:
        return review_answer(result)
    return tuple(map(sentence, result["runs"]))


def sentence(run: Run) -> str:
    """What a run, or an arm of a real one, showed and took, beside its verdict and reason."""
    met, outside = whole(run), run.get("vcpu_ns", {}).get("out_of_guest")
    rate = caught_rate(run)
    zeros = f"A rate of {share(rate)} of what is forbidden would have been caught. " if rate else ""
    took = [f"{name} {percentile_text(met, name)}" for name in ("p50", "p99") if met[name]]
    cost = f"A shootdown that met a vCPU took at {' and at '.join(took)}." if took else "Too few shootdowns for a time."
    out = ""
    if outside and outside["p50"]:
        out = f" A vCPU was out of the guest for {percentile_text(outside, 'p50')} a time at p50."
    return f"{name_of(run)}: {zeros}{cost}{out}"


def _legend(shown: Shown) -> tuple[Key, ...]:
    return tuple(Key(sample(look), f"{look.name}, n = {whole(run)['n']:,}") for run, look in shown.each())


def _latency(shown: Shown) -> Section:
    curve = panel("curve", "Percentile curves of whole shootdowns", lambda ax: shootdown_curves(ax, shown))
    shares = panel("ecdf", "Share of shootdowns done by a time", lambda ax: done_by(ax, shown))
    bands = len(shown.runs) <= MOST_BANDS
    ends = "A curve ends where n gives its percentile no 95 % interval" + (", which is its band." if bands else ".")
    open_loop = any("response" in run["latency_ns"] for run in shown.runs)
    dotted = " Dotted: from the intended start, waiting included." if open_loop else ""
    band = "The band holds the whole distribution with 95 % (Dvoretzky, Kiefer, Wolfowitz)." if bands else ""
    return Section(
        "latency",
        "How long a shootdown takes",
        ("After the warm-up, at the zapper, where a vCPU was met: from its claim of the page to REMOVE done.",),
        _legend(shown),
        (Figure(curve, ends + dotted), Figure(shares, band)),
        (percentiles_table(shown.runs, WHOLE, "Whole shootdowns, with 95 % intervals"),),
    )


def _phases(shown: Shown) -> Section:
    height = max(3.2, 1.5 + 0.36 * len(shown.runs))
    longest = max((len(look.name) for look in shown.looks), default=0)
    left = 0.3 + 0.083 * longest
    bars = panel(
        "phases", "Share of each phase by ordering", lambda ax: phase_bars(ax, shown),
        width_in=WIDTH_IN + max(left - LONG_NAMES_IN, 0), height_in=height, left_in=left,
    )  # fmt: skip
    why = "They make no whole shootdown's time: one that is stamped at both ends alone is shorter."
    rest = [name for name in PHASE_WORDS if name not in (*WHOLE, *OF_VCPUS)]
    return Section(
        "phases",
        "Where the time goes",
        (STAMPED,),
        tuple(Key(swatch(colour, hatch), label) for label, colour, hatch in PHASES.values()),
        (Figure(bars, why, wide=left > LONG_NAMES_IN),),
        (
            shares_table(shown.runs),
            percentiles_table(shown.runs, OF_VCPUS, "What it costs the vCPUs, with 95 % intervals"),
            percentiles_table(shown.runs, rest, "Every phase, with 95 % intervals", folded=True),
        ),
    )


def _stale(shown: Shown) -> Section:
    def strips(figure: Drawing) -> None:
        heights = strip_heights(shown.runs)
        axes = figure.subplots(len(STALE), 1, sharex=True, height_ratios=heights)
        figure.subplots_adjust(0.85 / WIDTH_IN, 0.62 / height, 1 - 0.2 / WIDTH_IN, 1 - 0.34 / height, hspace=0.62)
        stale_over_time(axes, shown)

    height = 1.5 + 1.45 * sum(strip_heights(shown.runs))
    over_time = element("stale", "Stale reads a second over time, by outcome", strips, height)
    ages = panel("ages", "Age of stale reads in TD epochs", lambda ax: stale_ages(ax, shown))
    window = panel("window", "Length of the legal stale window by percentile", lambda ax: window_curves(ax, shown))
    return Section(
        "stale",
        "Stale reads",
        (
            "Reads through an old translation: legal until the flush is declared done (stale_in_window), worth a look "
            "after a vCPU has acknowledged the kick, forbidden after that.",
        ),
        _legend(shown),
        (
            Figure(over_time, "Stale reads a second over all vCPUs, warm-up included.", tall=True),
            Figure(ages, "How many TRACKs ago the page was blocked when it was still read."),
            Figure(window, "How long an old translation may be used: from BLOCK to the flush declared done."),
        ),
    )


def _outcomes(runs: Sequence[Run]) -> Section:
    return Section(
        "outcomes",
        "Every outcome",
        ("From the first shootdown, warm-up included. An outcome that never showed says which rate would have.",),
        tables=tuple(replace(outcomes_table(run), folded=len(runs) > 4) for run in runs),
    )


def _locks(runs: Sequence[Run]) -> Iterator[Section]:
    """Who held the module's locks where a try failed, of each ordering that saw that; no section where none did."""
    found = {run["ordering"]: entries for run in runs if (entries := run.get("lock_contention"))}
    if found:
        yield Section(
            "locks", "Lock contention", CONTENTION, tables=tuple(map(contention_table, found.values(), found))
        )
