from pathlib import Path

import pytest

from kernels.race.clock import calibrate
from kernels.race.probes import load_probes
from results.machine.topology import topology
from results.tests.builders.machine import two_sockets
from stress.errors import HarnessFault
from stress.host import facts as examination
from stress.host.cpu_pairs import Buffering, Errand, Results
from stress.host.facts import pair_facts, room, system_facts
from stress.processes.placement import Cpus

GIB, MIB = 1 << 30, 1 << 20


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GiB of memory, and room for 1,000 processes."""
    monkeypatch.setattr(examination, "memory_to_be_had", lambda: 8 * GIB)
    monkeypatch.setattr(examination, "least_room", lambda: ("pids.max", 1000))


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize(
    ("worker_bytes", "most", "because"),
    [(3 * MIB, 512, "the most that there can be"), (1 * GIB, 7, "memory"), (None, 512, "the most that there can be")],
)
def test_how_many_vcpus_have_room(worker_bytes: int | None, most: int, because: str) -> None:
    facts = room(worker_bytes, None)

    assert (facts["vcpus_fit"], facts["vcpus_fit_because"]) == (most, because)


@pytest.mark.usefixtures("limits")
def test_processes_may_be_what_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "least_room", lambda: ("pids.max", 66))

    facts = room(3 * MIB, 70)

    assert (facts["vcpus_fit"], facts["vcpus_fit_because"], facts["vcpus_asked"]) == (64, "pids.max", 70)


def probed(
    monkeypatch: pytest.MonkeyPatch, cpus: Cpus, found: Results | HarnessFault
) -> tuple[list[Errand], dict[str, object]]:
    """The errands that were run, and the facts that came of what was found."""
    errands: list[Errand] = []

    def measure(errand: Errand, *_: object) -> Results:
        errands.append(errand)
        if isinstance(found, HarnessFault):
            raise found
        return found

    monkeypatch.setattr(examination, "measure", measure)
    return errands, pair_facts(cpus, topology(cpus, Path("/none")), calibrate(), load_probes(), lambda: False)


def test_all_pairs_are_tried_and_stores_between_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Results(
        round_trips_ns={(0, 1): (100.0, 110.0, 120.0), (0, 2): (50.0,), (1, 2): (60.0,)},
        buffering=Buffering((0, 1), 10, 1, 10, 0),
        kicks_ns={"signal": 1500.04},
        realtime=True,
        worker_bytes=MIB,
    )

    errands, facts = probed(monkeypatch, (0, 1, 2), found)

    assert errands == [Errand(((0, 1), (0, 2), (1, 2)), (0, 1), (0, 1), worker=True)]
    assert facts["kicks_ns"] == {"signal": 1500.0}
    assert (facts["round_trip_ns"], facts["realtime"], facts["worker_bytes"]) == (110.0, True, MIB)
    assert facts["store_buffering"] == {
        "cpus": (0, 1), "trials": 10, "missed": 1, "trials_fenced": 10, "missed_fenced": 0,
    }  # fmt: skip


def test_a_single_cpu_has_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    errands, facts = probed(monkeypatch, (3,), Results(realtime=False))

    assert errands == [Errand((), (), worker=True)]
    assert (facts["round_trips"], facts["round_trip_ns"], facts["store_buffering"]) == (None, None, None)


def test_of_many_cpus_the_pair_of_a_run_is_always_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    errands, _ = probed(monkeypatch, tuple(range(200)), Results())

    assert (0, 1) in errands[0].pairs
    assert 276 <= len(errands[0].pairs) <= 277


def test_probes_that_cannot_start_are_told_and_the_rest_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    _, facts = probed(monkeypatch, (0, 1), HarnessFault("no process for probe 0"))

    assert (facts["trouble"], facts["crashed"], facts["round_trips"]) == ("no process for probe 0", True, None)


def test_a_container_without_sys_tells_neither_topology_nor_isolation(tmp_path: Path) -> None:
    facts = system_facts((0, 1), topology((0, 1), tmp_path), tmp_path)

    assert facts["topology"]["told"] is False
    assert (facts["isolated"], facts["isolated_allowed"], facts["nohz_full"], facts["offline"]) == (None, "", "", "")


def test_facts_of_a_machine_with_two_sockets(tmp_path: Path) -> None:
    root = two_sockets(tmp_path)
    cpus = (0, 1, 2, 3, 4, 5)

    facts = system_facts(cpus, topology(cpus, root), root)

    assert facts == {
        "cpus_allowed": 6,
        "cpus_used": "0-5",
        "offline": "8",
        "topology": {
            "told": True, "cores": 4, "caches": 2, "packages": 2, "nodes": 2, "kinds": 1, "one_a_core": "0-3",
            "near": "0-1,4-5", "alike": "0-5",
        },
        "isolated": "3,7",
        "isolated_allowed": "3",
        "nohz_full": "",
        "tdx": {"enabled": False, "version": None, "module": None},
    }  # fmt: skip
