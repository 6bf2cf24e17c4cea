"""What the READMEs show of the program: made by it, stored beside this file, and shown from here.

    python results/reference/make.py [NAME...]    runs these commands, or all; stores NAME.txt and the pictures
    python results/reference/make.py NAME=DIR     prints again what its command left in DIR, and runs nothing
    python results/reference/make.py --fill       puts the texts into the READMEs

A README names the source of a block on the line before it: `<!-- results/reference/NAME.txt -->` is all of it. Parts
of it follow behind the name, with commas between them: `"first" to "last"` is from the next line that holds `first` to
the next that holds `last`, `"only"` is one line. Where lines are left out between two parts stands `[...]`.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from results.kinds.kind import kind_in
from results.machine.host import host_facts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ROOMS = ("kernels", "scenarios", "stress", "results")
READMES = (ROOT / "README.md", *(page for room in ROOMS for page in sorted((ROOT / room).rglob("README.md"))))
COLUMNS = "100"


class Shown(NamedTuple):
    """A command, word by word as a README has it, and what is kept here of the files that it leaves, by their names
    here: pictures that a README shows, and what `report` and `compare` read.
    """

    command: str
    kept: Mapping[str, str] = MappingProxyType({})


SHOWN = {
    "run-review": Shown("tdx-stress run review", {"latency.png": "latency.png", "stale.png": "stale.png"}),
    "explore-wrong": Shown("tdx-stress explore --ordering kick_then_track --vcpus 1"),
    "run-trace": Shown("tdx-stress run wrong --ordering kick_then_track --vcpus 2 --zappers 1 --duration 2s --trace"),
    "selftest": Shown("tdx-stress selftest"),
    "bench-review": Shown(
        "tdx-stress bench review --orderings spec,v18 --rounds 15 --duration 300ms", {"ratios.png": "ratios.png"}
    ),
    "real": Shown("tdx-stress run real --vcpus 4 --duration 15s", {"real.png": "latency.png"}),
    "kvm": Shown("tdx-stress run kvm --duration 15s"),
    "machine": Shown("tdx-stress bench real --sweep vcpus=1,2,4 --rounds 10", {"machine.png": "scaling.png"}),
    "doctor": Shown("tdx-stress doctor"),
    "list": Shown("tdx-stress list"),
    "answer": Shown(
        "tdx-stress bench review --orderings spec,v18 --sweep vcpus=1,2,8,64 --budget 4m",
        {"answer/scaling.png": "scaling.png", "answer/bench.json": "bench.json"},
    ),
    "costs": Shown(
        "tdx-stress bench review --orderings spec,v18 --sweep costs.track=0,0.5us,1us,2us,5us,10us "
        "--set kick_by=membarrier --vcpus 1 --rounds 10 --duration 300ms",
        {"answer/costs.png": "scaling.png"},
    ),
}
RUN_DIRECTORY = re.compile(r"runs/\d{8}T\d{6}Z[\w.-]*")
BLOCK = re.compile(
    r"^<!-- results/reference/(?P<name>[\w-]+)\.txt(?P<parts>.*?) -->\n```text\n(?P<text>.*?)^```$", re.M | re.S
)
PART = re.compile(r'"(?P<first>[^"]+)"(?: to "(?P<last>[^"]+)")?')


def machine(facts: Mapping[str, Any]) -> str:
    """A machine in one line, without a name or a path of its own."""
    below = "bare metal" if facts["hypervisor"] is None else f"a virtual machine ({facts['hypervisor']})"
    kernel = ".".join(facts["kernel"].split(".")[:2])
    return f"{facts['cpus_allowed']} CPUs, {facts['cpu_model']}, {below}, {kernel}, Python {facts['python']}"


def origin() -> str:
    """The program's version and commit; what is made here and shown in a README is no change of it."""
    git = ["git", "-C", str(ROOT)]
    version = subprocess.run(["tdx-stress", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    others = [".", ":!results/reference", ":!*README.md"]
    same = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *others]).returncode == 0
    return f"{version}, commit {head.stdout.strip()}{'' if same else '+changes'}"


def make(name: str, stored: Path | None = None) -> None:
    """Run one command in a directory of its own, or report on what it left, and store what that printed and drew; exits
    where it did not end in 0.
    """
    shown, command, made = SHOWN[name], SHOWN[name].command, f"{origin()}; {machine(host_facts())}"
    with tempfile.TemporaryDirectory() as place:
        if stored is not None:
            record = json.loads((stored / kind_in(stored).file).read_text())
            command, made = (
                "tdx-stress report",
                f"tdx-stress {record['version']}, commit {record['commit'][:7]}; {machine(record['host'])}",
            )
            shutil.copytree(stored, Path(place, "runs", "latest"))
        done = subprocess.run(
            shlex.split(command),
            cwd=place,
            env={**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{name}: exit {done.returncode}, nothing stored\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        for here, left in shown.kept.items():
            Path(HERE, here).parent.mkdir(exist_ok=True)
            shutil.copyfile(Path(place, "runs", "latest", left), HERE / here)
    printed = RUN_DIRECTORY.sub("runs/latest", done.stdout.replace(f"{place}/", ""))
    lines = [f"$ {shown.command}", f"# {made}", *printed.splitlines()]
    (HERE / f"{name}.txt").write_text("".join(f"{line.rstrip()}\n" for line in lines))


def part_of(text: str, parts: str) -> str:
    """What a README shows of a text. Raises ValueError where a part is not there."""
    if not parts.strip():
        return text
    lines, shown, at = text.splitlines(keepends=True), list[str](), 0
    for part in PART.finditer(parts):
        first = _line_with(lines, part["first"], at)
        last = _line_with(lines, part["last"], first) if part["last"] else first
        shown += ["[...]\n"] * (first > at > 0) + lines[first : last + 1]
        at = last + 1
    return "".join(shown)


def _line_with(lines: list[str], words: str, start: int) -> int:
    for at in range(start, len(lines)):
        if words in lines[at]:
            return at
    raise ValueError(f'no line holds "{words}" behind line {start}')


def filled(readme: str) -> str:
    """A README's text with every block as its source has it. Raises ValueError where a part is not there."""

    def fill(block: re.Match[str]) -> str:
        text = (HERE / f"{block['name']}.txt").read_text()
        try:
            part = part_of(text, block["parts"])
        except ValueError as error:
            raise ValueError(f"results/reference/{block['name']}.txt: {error}") from None
        return f"{block[0].partition('```text')[0]}```text\n{part}```"

    return BLOCK.sub(fill, readme)


def main(arguments: list[str]) -> None:
    # The command of this interpreter's environment comes first.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if arguments == ["--fill"]:
        for readme in READMES:
            readme.write_text(filled(readme.read_text()))
        return
    wanted = {name: stored for name, _, stored in (one.partition("=") for one in arguments or SHOWN)}
    if unknown := set(wanted) - set(SHOWN):
        sys.exit(f"{', '.join(sorted(unknown))}: expected --fill, or some of {', '.join(SHOWN)}")
    for name, stored in wanted.items():
        print(name, flush=True)
        make(name, Path(stored).resolve() if stored else None)


if __name__ == "__main__":
    main(sys.argv[1:])
