"""The cache of compiled code: it notices every change, and it is no reason to fail."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.language import cache
from kernels.language.cache import digest
from kernels.language.steps import composed
from kernels.language.syntax import ROOT
from kernels.race.straight import composition
from kernels.tdx.kvm.vcpu_run import vcpu
from kernels.tdx.part import parts_of
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.rules import Flow
from kernels.tests.test_peterson import PETERSON, THREAD

KERNELS = ROOT / "kernels"

# Compiles one small function of steps and runs it: what TDH.MEM.TRACK adds to a word, and where the code is kept.
TRACKS = """
import sys
import numpy as np
from kernels.language import cache
from kernels.language.compile import passed
from kernels.language.syntax import DECLARED
from kernels.race.straight import straight
from kernels.tdx.module.mem import mem_track
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.rules import Rules
from kernels.tdx.words import plan, zapper_actor
lay = plan(1, 1, 1, 1)
words = np.zeros(lay.total_words, np.int64)
run = straight(SHOOTDOWN, mem_track)
for _ in range(2):
    run(*passed(words, lay, Rules(*[0] * len(Rules._fields)), zapper_actor(lay, 0)))
parsed = sum("parsed" in vars(one) for one in DECLARED)
print(words[lay.epoch_tracking], cache.cache_directory(), sum(run.stats.cache_hits.values()), parsed)
"""


def environment(tree: Path, cache: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TDX_STRESS_CACHE")}
    return {**kept, "PYTHONPATH": str(tree), "TDX_STRESS_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}


def start(tree: Path, cache: Path) -> "subprocess.Popen[str]":
    """The small program in a process of its own, on this tree's kernels."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", TRACKS],
        cwd=cache.parent,
        env=environment(tree, cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: "subprocess.Popen[str]") -> tuple[int, str, int, int]:
    """The word, the cache's directory, how often compiled code came from it, and how many functions were parsed."""
    out, error = process.communicate()
    assert process.returncode == 0, error
    word, place, hits, parsed = out.split()
    return int(word), place, int(hits), int(parsed)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the kernels that a test may edit."""
    shutil.copytree(KERNELS, tmp_path / "tree" / "kernels", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    return tmp_path / "tree"


def edit(tree: Path, file: str, old: str, new: str) -> None:
    path = tree / "kernels" / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_code_of_an_empty_cache_is_kept_for_the_next_and_not_for_edited_sources(tree, tmp_path):
    """Two processes build at once. Then a constant of another file is edited, which numba's own cache does not notice:
    a judge of correctness that gives the old answer is poison.
    """
    kept = tmp_path / "cache"
    first, second = [answer(process) for process in [start(tree, kept) for _ in range(2)]]
    again = answer(start(tree, kept))
    edit(tree, "tdx/bits.py", "ONE_EPOCH = 1 << 24", "ONE_EPOCH = 1 << 25")
    after = answer(start(tree, kept))

    assert first[:2] == second[:2] == (2 << 24, first[1])
    assert again == (2 << 24, first[1], 1, 0)
    assert after == (2 << 25, after[1], 0, first[3])
    assert first[3] > 200
    assert first[1] != after[1]
    assert not list(kept.rglob("*.tmp"))


def test_a_line_is_known_by_what_stands_in_which_place_or_where_not_all_of_it_ships_by_its_text():
    parts = [
        composed(vcpu, layers, "vcpu") for layers in ([], [part.fills for part in parts_of(Flow.MEMSLOTS).values()])
    ]
    said = [composition(SHOOTDOWN, one) for one in (*parts, vcpu)]

    assert all(said)
    assert said[0] == said[2] != said[1]
    assert composition(replace(SHOOTDOWN, built_in=None), vcpu) not in ("", said[2])
    assert composition(PETERSON, PETERSON.actors[THREAD]) == ""


def test_the_digest_changes_with_every_kernel_source(tree, monkeypatch):
    monkeypatch.setattr(cache, "SOURCES", tree / "kernels")
    found = [digest()]
    sources = sorted((tree / "kernels").rglob("*.py"))
    for path in sources:
        path.write_bytes(path.read_bytes() + b"#")
        found.append(digest())

    assert len(sources) > 60
    assert len(set(found)) == len(sources) + 1


def test_the_digest_changes_when_a_file_is_renamed(tree, monkeypatch):
    monkeypatch.setattr(cache, "SOURCES", tree / "kernels")
    before = digest()
    (tree / "kernels/tdx/module/locks.py").rename(tree / "kernels/tdx/module/lockz.py")

    assert digest() != before


@pytest.mark.parametrize(
    ("owner", "name", "other"),
    [
        (cache.metadata, "version", lambda package: "0"),
        (cache.llvmlite, "__version__", "0"),
        (cache.sys, "version", "0"),
        (cache.binding, "get_host_cpu_name", lambda: "another"),
        (cache.binding, "get_host_cpu_features", lambda: {"another": True}),
    ],
)
def test_the_digest_changes_with_a_version_and_with_the_cpu(monkeypatch, owner, name, other):
    before = digest()
    monkeypatch.setattr(owner, name, other)

    assert digest() != before
