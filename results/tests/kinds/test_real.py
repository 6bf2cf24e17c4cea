"""real.json: its verdict, its exit code, its files, its rows of a history."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.collect.race import Run
from results.collect.real import interrupts_now
from results.history import History
from results.kinds.kind import Kind, kind_in
from results.kinds.real import real_caveats
from results.store import RAW, StoreError
from results.tests.builders.kept import keep
from results.tests.builders.real import a_race, a_real, both
from results.tests.builders.run import HOST
from results.tests.html_reading import Read
from results.verdict import Ending

INTERRUPTS = """           CPU0       CPU1
 LOC:       5001       6002   Local timer interrupts
 CAL:        301         42   Function call interrupts
 TLB:        107         23   TLB shootdowns
"""


def kept(directory: Path, *races: Run) -> Kind:
    """The kind of a directory with the document of these races and their histograms."""
    arrays = {name: counts for race in races for name, counts in race.arrays.items()}
    return kind_in(keep(directory, a_real(*races), **arrays))


@pytest.mark.parametrize(
    ("changed", "verdict", "code"),
    [
        ({}, "passed", 0),
        ({"stale": 19}, "failed", 1),
        ({"ending": Ending.crashed, "notes": ("vcpu 1 (pid 7) was ended by SIGKILL",)}, "crashed", 3),
        ({"ending": Ending.hung, "notes": ("no progress for 5 s: zapper 0",)}, "hung", 3),
        ({"ending": Ending.interrupted, "notes": ("interrupted",)}, "inconclusive", 130),
    ],
)
def test_a_race_comes_to_the_exit_code_of_its_verdict(
    tmp_path: Path, changed: dict[str, Any], verdict: str, code: int
) -> None:
    kind = kept(tmp_path, a_race(**changed))
    document = kind.read(tmp_path)

    assert (document["runs"][0]["verdict"], kind.exit_code(document)) == (verdict, code)


def test_the_picture_and_the_page_are_made_again_from_what_is_kept(tmp_path: Path) -> None:
    kind = kept(tmp_path, *both())

    assert kind.draw(tmp_path, kind.read(tmp_path)) == ""
    assert {path.name for path in tmp_path.iterdir()} == {"real.json", RAW, "latency.png", "latency.svg", "report.html"}
    assert Read((tmp_path / "report.html").read_text()).troubles == []


def test_without_histograms_nothing_is_drawn_and_said_so(tmp_path: Path) -> None:
    kind = kept(tmp_path, a_race())
    (tmp_path / RAW).unlink()

    assert kind.draw(tmp_path, kind.read(tmp_path)) == RAW
    assert [path.name for path in tmp_path.iterdir()] == ["real.json"]


def test_a_histogram_of_another_shape_is_one_line_that_names_it(tmp_path: Path) -> None:
    keep(tmp_path, a_real(a_race()), **{"memfd/hist/shootdown_met": np.zeros(3)})

    with pytest.raises(StoreError, match=r"raw\.npz: memfd/hist/shootdown_met: expected shape \(4352,\), found \(3,\)"):
        kind_in(tmp_path).read(tmp_path)


def test_a_history_has_its_figures(tmp_path: Path) -> None:
    kept(tmp_path, *both())
    first, second = History([tmp_path]).rows({})

    assert (first["kind"], first["ordering"], first["shootdowns"], first["forbidden"]) == ("real", "memfd", 5_000, 0)
    assert (second["ordering"], second["verdict"], second["forbidden"]) == (
        "munmap (published_early)", "failed", 19,
    )  # fmt: skip
    assert first["p50_low_ns"] <= first["p50_ns"] <= first["p50_high_ns"] <= first["p99_ns"] <= first["max_ns"]
    assert first["reads_per_s"] == pytest.approx(15_000_711 / 2.5, rel=1e-3)


def test_interrupts_are_those_of_all_cpus_and_none_where_the_kernel_tells_none(tmp_path: Path) -> None:
    (tmp_path / "interrupts").write_text(INTERRUPTS)
    (tmp_path / "others").write_text(INTERRUPTS.partition(" CAL")[0])

    assert interrupts_now(tmp_path / "interrupts") == {"TLB": 130, "CAL": 343}
    assert interrupts_now(tmp_path / "others") == interrupts_now(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("arm", "rate", "told"), [("kvm", 22_000, True), ("guest_memfd", 3e8, False), ("memfd", 22_000, False)]
)
def test_a_guest_that_is_emulated_is_known_by_its_speed(arm: str, rate: float, told: bool) -> None:
    run = {**a_race(arm).json, "reads_per_s": rate}

    assert any("emulated" in one["seen"] for one in real_caveats(HOST, {"vcpus": 1}, [run])) is told


@pytest.mark.parametrize(("cpus", "vcpus", "told"), [(2, 2, True), (3, 2, False), (1, 1, False)])
def test_readers_that_share_a_cpu_are_a_caveat(cpus: int, vcpus: int, told: bool) -> None:
    found = real_caveats({**HOST, "cpus_allowed": cpus}, {"vcpus": vcpus}, [])

    assert any("beside the zapper's" in one["seen"] for one in found) is told
