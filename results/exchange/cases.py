"""Test cases for continuous integration, as JUnit XML and as KTAP: one document of either from one list of cases."""

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from results.verdict import Verdict, word_of
from results.words import changes, nanoseconds, plural

# What XML 1.0 cannot hold.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SHOWN = 12  # cases that did not pass, on a screen; --junit and --json have all
BROKEN = ("crashed", "hung")


@dataclass(frozen=True, slots=True)
class Case:
    """One test case. `why` is one line; `details` more lines for a case that did not pass. People read `word` for the
    state where it is given; `more` is the command that tells more of a case that did not pass.
    """

    name: str
    state: str
    why: str
    seconds: float = 0.0
    details: Sequence[str] = field(default_factory=tuple)
    word: str = ""
    more: str = ""

    @property
    def told(self) -> str:
        """The state with its reason, which may begin with it."""
        word = self.word or self.state
        return self.why if self.why.startswith(word) else f"{word}: {self.why}"


def without_options(command: Sequence[str], options: Collection[str]) -> list[str]:
    """The command without these options, each with its value."""
    kept = list(command)
    for at in reversed([at for at, word in enumerate(kept) if word in options]):
        del kept[at : at + 2]
    return [word for word in kept if word.partition("=")[0] not in options]


def why_of(one: Mapping[str, Any]) -> str:
    """The reason of a verdict; what was changed of the ordering stands before it."""
    told = ", ".join(changes(one))
    return f"with {told}: {one['reason']}" if told else str(one["reason"])


def case_of(one: Mapping[str, Any], details: Sequence[str] = (), more: str = "") -> Case:
    """The case of whatever has an ordering, a verdict, its reason, and the seconds that it took."""
    return Case(one["ordering"], one["verdict"], why_of(one), one["seconds"], details, word_of(one), more)


def unreached(asked: Iterable[str], cases: Sequence[Case], command: Sequence[str]) -> list[Case]:
    """A case for each ordering asked for whose turn never came, as an interrupt or a failure ended all before it; the
    same command where it was no failure.
    """
    there = {case.name for case in cases}
    more = "" if any(case.state in ("failed", *BROKEN) for case in cases) else shlex.join(command)
    why = "its turn never came, as all ended before"
    return [Case(name, Verdict.inconclusive, why, more=more) for name in asked if name not in there]


def failed_lines(cases: Sequence[Case]) -> list[str]:
    """A line for each case that did not pass, the inconclusive last, of very many the first: why, and what to type
    next; `Case.more` once where it is the same.
    """
    bad = sorted((case for case in cases if case.state != "passed"), key=lambda case: case.state == "inconclusive")
    bad, rest = bad[:SHOWN], bad[SHOWN:]
    whys = [case.why.partition("; try ") for case in bad]  # what to try stands once where it is the same
    lines = [f"<== {case.state.upper()} {case.name}: {why}" for case, (why, _, _) in zip(bad, whys, strict=True)]
    lines += [f"<== and {plural(many, f'more {state} case')}" for state, many in Counter(c.state for c in rest).items()]
    lines += [f"    try: {remedy}" for remedy in dict.fromkeys(remedy for _, _, remedy in whys) if remedy]
    return lines + [f"    next: {more}" for more in dict.fromkeys(case.more for case in bad) if more]


def summary(cases: Sequence[Case], took_s: float | None = None) -> str:
    """`2 passed, 1 caught in 17.9 s`, what the command took; of a stored result what its races and searches did."""
    words = Counter(case.word or case.state for case in cases)
    seconds = sum(case.seconds for case in cases) if took_s is None else took_s
    told = ", ".join(f"{many:,} {word}" for word, many in words.items())
    return told + (f" in {nanoseconds(seconds * 1e9)}" if seconds else "")


def junit_document(suite: str, cases: Sequence[Case]) -> str:
    """The cases as JUnit XML; inconclusive is a failure, a broken harness an error."""
    totals = {
        "tests": str(len(cases)),
        "failures": str(sum(case.state in ("failed", "inconclusive") for case in cases)),
        "errors": str(sum(case.state in BROKEN for case in cases)),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }
    root = ElementTree.Element("testsuites", totals)
    inner = ElementTree.SubElement(root, "testsuite", {"name": f"tdx-stress.{_plain(suite)}", **totals})
    for case in cases:
        about = {"classname": _plain(suite), "name": _plain(case.name), "time": f"{case.seconds:.3f}"}
        element = ElementTree.SubElement(inner, "testcase", about)
        if case.state != "passed":
            kind = "error" if case.state in BROKEN else "failure"
            report = ElementTree.SubElement(element, kind, {"type": case.state, "message": _plain(case.why)})
            report.text = _plain("\n".join(case.details))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _plain(text: str) -> str:
    return _ILLEGAL.sub("?", text)


def ktap_document(suite: str, cases: Sequence[Case]) -> str:
    """The cases as KTAP version 1, the form of the kernel's own tests, with the totals that kselftest prints.

    Source: Documentation/dev-tools/ktap.rst. A case's details stand before its line; a harness that broke has the
    directive ERROR or TIMEOUT, and nothing but passed is ok.
    """
    lines = ["KTAP version 1", f"1..{len(cases)}"]
    for number, case in enumerate(cases, start=1):
        lines += [f"# {_remark(line)}" for line in case.details if line.strip()]
        lines.append(_test_line(number, suite, case))
    passed, broken = (sum(case.state in states for case in cases) for states in (("passed",), BROKEN))
    failed = len(cases) - passed - broken
    lines.append(f"# Totals: pass:{passed} fail:{failed} xfail:0 xpass:0 skip:0 error:{broken}")
    return "\n".join(lines) + "\n"


def _test_line(number: int, suite: str, case: Case) -> str:
    verdict = "ok" if case.state == "passed" else "not ok"
    directive = {"crashed": "ERROR ", "hung": "TIMEOUT "}.get(case.state, "")
    said = case.why if case.state == "passed" else f"{case.state}: {case.why}"
    # A "#" in a name would start a directive.
    return f"{verdict} {number} {_word(suite)}.{_word(case.name)} # {directive}{_remark(said)}"


def _remark(text: str) -> str:
    return " ".join(text.split()).replace("#", "%")


def _word(text: str) -> str:
    return re.sub(r"[^\w.,=@/+-]+", "_", text)


def state_unless_open(is_open: bool) -> str:
    return (Verdict.inconclusive if is_open else Verdict.passed).value
