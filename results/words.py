"""Numbers, sizes and phases as people read them, and what of an ordering or a scenario is not as the file of that name
has it: one place, so that tables, pictures and sentences agree.

Changed are faults that are switched on, and keys that were set. A changed ordering is marked beside its name wherever
that stands, and what was changed is told once.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

PHASE_WORDS = {
    "shootdown_met": "whole, met a vCPU",
    "shootdown_empty": "whole, met nobody",
    "shootdown": "whole shootdown",
    "response": "from intended start",
    "lock": "wait for mmu_lock",
    "block": "BLOCK",
    "kick_send": "kick: send",
    "kick_ack": "kick: last ack",
    "kick": "kick, both",
    "track": "TRACK with retries",
    "remove": "REMOVE",
    "stale_window": "legal stale window",
    "gate_wait": "vCPU at the gate",
    "out_of_guest": "vCPU out of guest",
    "move": "vCPU moves, in all",
    "pin": "vCPU moves: pinning",
    "mmio_ve": "MMIO: #VE to resume",
    "mmio_trip": "MMIO: first touch",
}


LEAST_IN_PERCENT = 1e-6
SIZES = {"vcpus": "vCPU", "zappers": "zapper", "pages": "page", "tlb_entries": "TLB entry", "shootdowns": "shootdown"}


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The value in the first of these units in which it has three digits or fewer, or in the last; and that unit."""
    size, unit = next((one for one in units if float(f"{value / one[0]:.3g}") < 1000), units[-1])
    return value / size, unit


def nanoseconds(value_ns: float | None) -> str:
    """Three digits and a unit: `672 ns`, `6.02 us`, `12.3 ms`; a dash for None."""
    if value_ns is None:
        return "-"
    number, unit = _scaled(value_ns, ((1, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s")))
    return f"{number:.0f} ns" if unit == "ns" else f"{_three(number)} {unit}"


def tenths(value_ns: float) -> str:
    """Nanoseconds that are few: below 100 with a tenth, `9.5 ns`, above as always, `319 ns`."""
    return f"{value_ns:.1f} ns" if value_ns < 99.95 else nanoseconds(value_ns)


def nanoseconds_with_interval(value_ns: float, low_ns: float, high_ns: float) -> str:
    """`667 ns (663-671)`; the ends carry units of their own where they differ: `940 ns (870 ns-1.02 us)`."""
    texts = [nanoseconds(value) for value in (value_ns, low_ns, high_ns)]
    numbers, units = zip(*(text.split(" ") for text in texts), strict=True)
    if len(set(units)) == 1:
        return f"{texts[0]} ({numbers[1]}-{numbers[2]})"
    return f"{texts[0]} ({texts[1]}-{texts[2]})"


def plural(number: int, word: str) -> str:
    """`1 vCPU`, `2 vCPUs`, `3 TLB entries`."""
    several = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number:,} {word if number == 1 else several}"


def machine_size(one: Mapping[str, Any], *keys: str) -> list[str]:
    """How large a machine is: `1 vCPU`, `2 zappers`, and what is asked for of pages, TLB entries and shootdowns."""
    sizes = [plural(one[key], word) for key, word in SIZES.items() if key in ("vcpus", "zappers", *keys)]
    return [f"{size} each" if "shootdown" in size and one["zappers"] > 1 else size for size in sizes]


def conditions(
    scenario: Mapping[str, Any], ones: Iterable[Mapping[str, Any]] = (), told_already: Sequence[str] = ()
) -> list[str]:
    """Under what a race of these orderings ran that is not as usual: `kick by membarrier`, `costs track=2us`, `faults:
    lost_kick`, `set: pages=8` unless that is told already.
    """
    kick_by, costs = scenario.get("kick_by", "word"), scenario.get("costs")
    told = [f"kick by {kick_by}"] if kick_by != "word" else []
    told += [f"costs {' '.join(f'{key}={cost}' for key, cost in costs.items())}"] if costs else []
    return told + changes_told(scenario, ones, ("kick_by", "costs", *told_already))


def count(value: float) -> str:
    """Exact below ten million; above with a prefix: `81,234`, `1,507,211`, `15.1 M`, `2.30 G`."""
    if value < 9_999_999.5:
        return f"{value:,.0f}"
    number, prefix = _scaled(value, ((1e6, "M"), (1e9, "G"), (1e12, "T")))
    return f"{_three(number)} {prefix}"


def per_second(rate: float) -> str:
    """How many a second, in three digits: `929`, `81.2 k`, `1.51 M`."""
    number, prefix = _scaled(rate, ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")))
    return f"{_three(number)} {prefix}" if prefix else f"{number:.0f}"


def title_of(one: Mapping[str, Any]) -> str:
    """What an ordering is: its title, or the steps of one whose file has none."""
    steps = one.get("shootdown") or (one.get("parameters") or {}).get("shootdown") or ()
    return str(one["title"] or ", ".join(steps) or "without a title")


def described(one: Mapping[str, Any]) -> str:
    """The same, and what was changed of it."""
    return "; ".join([title_of(one), *changes_told({}, [one])])


def silent_words(bad: int, others: int) -> str:
    """Outcomes that nobody saw: `12 outcomes that are forbidden or unknown, and 2 others`."""
    others_words = plural(others, "other")
    if not bad:
        return others_words
    told = f"{plural(bad, 'outcome')} that {'is' if bad == 1 else 'are'} forbidden or unknown"
    return f"{told}, and {others_words}" if others else told


def without_zeros(text: str) -> str:
    """What these say, without zeros at the end of a fraction: `1.50 us` is `1.5 us`."""
    number, space, unit = text.partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + unit


def _three(value: float) -> str:
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f}"


def share(value: float) -> str:
    """A rate from 0 to 1 in percent: three digits, two below 0.1 %; below a millionth a power of ten."""
    if value == 0:
        return "0"
    if value >= 0.9995:
        return "100 %" if value == 1 else "> 99.9 %"
    return f"{_percent(value, value)} %" if value >= LEAST_IN_PERCENT else f"{value:.1e}"


def _percent(value: float, beside: float) -> str:
    """A rate in percent, with as many digits as the one that it stands beside has."""
    return _three(value * 100) if beside >= 0.001 else f"{value * 100:.{_decimals(beside * 100)}f}"


def _decimals(value: float) -> int:
    """How many stand behind the point where a small number has two digits."""
    return 1 - int(f"{value:.1e}".partition("e")[2])


def mean(value: float) -> str:
    """A mean without a power of ten: `3,707`, `12.3`, `0.02`, `0.000019`."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value == 0 or value >= 0.1 else f"{value:.{_decimals(value)}f}"


def rate_with_interval(outcome: Mapping[str, Any]) -> str:
    """The rate of an outcome with its 95 % interval: `12.3 % (12.1-12.5)`, `0.0021 % (0.0009-0.0041)`, `0 (<0.0037 %)`,
    `2.1 (0.9-4.1) e-07`.

    The bound of a zero is the one that the sentence has, in results of earlier versions too.
    """
    rate, interval = outcome["rate"], outcome["ci95"]
    if rate is None or interval is None:
        return ""
    if outcome["shootdowns"] and rate == 0:
        return f"{count(outcome['shootdowns'])} that met nobody"
    if not outcome["of"]:
        return "none met a vCPU"
    low, high = interval
    if outcome["shootdowns"] == 0:
        return f"0 (<{share(outcome.get('would_have_caught') or high)})"
    if rate >= LEAST_IN_PERCENT:
        return f"{share(rate)} ({_percent(low, rate)}-{_percent(high, rate)})"
    power = f"{rate:.1e}".partition("e")[2]
    scale = 10.0 ** int(power)
    return f"{rate / scale:.1f} ({low / scale:.1f}-{high / scale:.1f}) e{power}"


def broken_name(name: str, *, safe: bool = True) -> str:
    """An ordering's name above a narrow column: over several lines, broken where it has underscores and marks."""
    lines = [""]
    name, *marks = name.split(" (")
    for word in name.split("_"):
        joined = f"{lines[-1]}_{word}" if lines[-1] else word
        lines[-1:] = [joined] if len(joined) <= 12 or not lines[-1] else [lines[-1] + "_", word]
    return "\n".join(lines) + "".join(f"\n({mark}" for mark in marks) + "\n(unsafe)" * (not safe)


def installed_by(extra: str) -> str:
    """How what this extra brings is installed: of a package, or of a clone."""
    return f"pip install 'tdx-stress[{extra}]', or in a clone pip install '.[{extra}]'"


One = Mapping[str, Any]
MARK = " (changed)"


def faults_of(one: One) -> list[str]:
    """The faults of an ordering that raced or was explored, or of a real arm."""
    return list(one.get("faults") or (one.get("parameters") or {}).get("faults") or ())


def keys_set(one: One) -> list[str]:
    """Of an ordering or a scenario: `kick.wait=false`."""
    changed = (one.get("changed") or {}).items()
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changed]


def changes(one: One) -> list[str]:
    """All that is changed of an ordering."""
    return [*faults_of(one), *keys_set(one)]


def with_changes(name: str, told: Iterable[str]) -> str:
    """The name under which no other results are: `spec (no_flush_at_entry)`, `review (pages=8)`."""
    told = ", ".join(told)
    return f"{name} ({told})" if told else name


def changes_told(scenario: One, ones: Iterable[One], told: Collection[str] = ()) -> list[str]:
    """`faults: no_flush_at_entry`, `set: kick.wait=false, tick_us=0`; whose it is, where not all have it. `told`: what
    of the scenario has words of its own.
    """
    ones, changed = list(ones), scenario.get("changed") or {}
    scenario_keys = keys_set({"changed": {key: changed[key] for key in changed if key.partition(".")[0] not in told}})
    faults = _together(ones, [faults_of(one) for one in ones])
    keys = _together(ones, [keys_set(one) for one in ones]) + scenario_keys
    return [f"{word}: {', '.join(texts)}" for word, texts in (("faults", faults), ("set", keys)) if texts]


def _together(ones: list[One], told: list[list[str]]) -> list[str]:
    names = [one["ordering"] for one in ones]
    whose = {text: [name for name, its in zip(names, told, strict=True) if text in its] for its in told for text in its}
    said = {text: "" if len(its) == len(ones) else f" in {' and '.join(its)}" for text, its in whose.items()}
    return [f"{text}{where}" for text, where in said.items()]
