"""What a search for amplifiers found, as tables for a terminal: settings beside none, and times to the first catch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from results.amplification import factor
from results.amplification_verdict import gravest_race, unexpected_texts
from results.tables import VERDICT_STYLES, marked, plain_table
from results.verdict import Verdict
from results.wording import count, nanoseconds, rate_with_interval

Entry = Mapping[str, Any]


def amplification_table(entry: Entry) -> RenderableType:
    """One ordering: the rate without and with the best settings, what these are, the command of the best; what showed
    beside the outcome that was looked for, and the verdict.
    """
    table = plain_table(
        ("", "right"), ("RATE OF SHOOTDOWNS", "left"), ("TIMES AS OFTEN", "left"), ("A SECOND", "right"),
        ("FIRST CATCH", "right"),
    )  # fmt: skip
    base, cap_s = entry["without"], entry["cap_s"]
    table.add_row("none", _rate(base), "", count(base["per_s"]), _catch(base, cap_s))
    for place, one in enumerate(entry["best"], start=1):
        table.add_row(str(place), _rate(one), _factor(base, one), count(one["per_s"]), _catch(one, cap_s))
    head = Text.assemble(marked(entry["ordering"], entry["expect"] == "safe"), f": amplified for {entry['outcome']}")
    return Group(head, table, *(Padding(line, (0, 0, 0, 2)) for line in _below(entry)))


def _rate(one: Entry) -> str:
    return rate_with_interval(
        {"rate": one["rate"], "ci95": one["ci95"], "of": one["shootdowns"], "shootdowns": one["hits"]}
    )


def _factor(base: Entry, one: Entry) -> str:
    if not one["hits"]:
        return "not shown"
    ratio, least, most = factor(base, one)
    if ratio is None or most is None:
        return f"> {_times(least)}x"
    return f"{_times(ratio)}x ({_times(least)}-{_times(most)})"


def _times(value: float) -> str:
    return count(value) if value >= 100 else f"{value:.3g}"


def _catch(one: Entry, cap_s: float) -> str:
    if not one.get("catches_s"):
        return "-"
    return f"> {nanoseconds(cap_s * 1e9)}" if one["first_catch_s"] is None else nanoseconds(one["first_catch_s"] * 1e9)


def _below(entry: Entry) -> Iterator[Text]:
    for place, one in enumerate(entry["best"], start=1):
        yield Text(f"{place}: {one['setting']}")
    yield Text(f"{entry['races']} races; ranked by how many shootdowns a second show it, the best raced anew.")
    if entry["command"]:
        yield Text("The best again: ", style="bold") + Text(entry["command"])
    if also := unexpected_texts(entry):
        yield Text("Also forbidden: ", style="bold") + Text(", ".join(also))
    gravest = gravest_race(entry)
    if gravest is not None and entry["verdict"] in (Verdict.failed, Verdict.hung, Verdict.crashed):
        yield Text("That again: ", style="bold") + Text(gravest["command"])
    yield Text.assemble((entry["verdict"].upper(), VERDICT_STYLES[entry["verdict"]]), f": {entry['reason']}")


def first_catch_table(entries: Sequence[Entry]) -> RenderableType:
    """Time to the first catch of each ordering, before and after."""
    table = plain_table(
        ("ORDERING: expected", "left"), ("BEFORE", "right"), ("AFTER", "right"), ("RATE BEFORE", "left"),
        ("RATE AFTER", "left"),
    )  # fmt: skip
    for entry in entries:
        best = entry["best"][0] if entry["best"] else entry["without"]
        table.add_row(
            Text.assemble(marked(entry["ordering"], entry["expect"] == "safe"), f": {entry['outcome']}"),
            _catch(entry["without"], entry["cap_s"]), _catch(best, entry["cap_s"]), _rate(entry["without"]),
            _rate(best),
        )  # fmt: skip
    note = "Time to the first catch, median of three races each; looked at every 10 ms."
    return Group(table, Padding(Text(note, style="dim"), (0, 0, 0, 2)))
