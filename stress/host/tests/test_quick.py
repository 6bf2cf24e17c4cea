import json
import os
import signal
from collections.abc import Callable

import pytest

from kernels.race.clock import calibrate
from kernels.race.lines import load
from kernels.race.probes import load_probes
from kernels.tdx.protocol import SHOOTDOWN
from stress.errors import HarnessFault
from stress.host import quick as probing
from stress.host.quick import clock_facts, empty_shootdown_facts, fork_facts, host_record, round_trip_facts, timer_facts
from stress.processes.prepared import Prepared


def test_a_reading_of_the_clock_costs_something_and_less_than_a_millisecond() -> None:
    facts = timer_facts(calibrate(), load_probes())

    assert 0 < facts["timer_ns"] < 1e6
    assert 0 <= facts["timer_step_ns"] < 1e6


def test_the_clocks_rate_is_told_with_its_error() -> None:
    clock = calibrate()

    assert clock_facts(clock) == {
        "ticks_per_us": round(clock.ticks_per_s / 1e6, 3),
        "clock_error_ppm": round(clock.error_ppm, 1),
    }


def test_an_empty_shootdown_is_measured_by_the_zappers_own_kernel() -> None:
    facts = empty_shootdown_facts(calibrate(), load(SHOOTDOWN)["zapper"])

    assert 0 < facts["empty_shootdown_ns"] < 10**9
    assert empty_shootdown_facts(calibrate(), lambda *_: 0) == {"empty_shootdown_ns": None}


def test_a_round_trip_is_a_median_between_its_tenths() -> None:
    samples = [float(value) for value in range(101)]

    assert round_trip_facts((0, 1), samples) == {
        "round_trip_ns": 50.0,
        "round_trip_range_ns": [10.0, 90.0],
        "round_trip_cpus": [0, 1],
    }
    assert round_trip_facts((3,), ())["round_trip_ns"] is None


def test_where_no_process_is_to_be_had_a_fork_has_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)

    assert fork_facts() == {"fork_ns": None}


def test_a_run_goes_on_where_its_probe_finds_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise HarnessFault("no process for probe 0")

    monkeypatch.setattr(probing, "measure", refuse)

    record = host_record(Prepared(load(SHOOTDOWN), calibrate(), (0, 1)))

    assert record["round_trip_ns"] is None
    assert record["empty_shootdown_ns"] > 0


def test_with_one_cpu_there_is_no_round_trip_and_kernels_that_perturb_measure_no_empty_shootdown() -> None:
    record = host_record(Prepared(load(SHOOTDOWN), calibrate(), (0,), looks=True))

    assert (record["round_trip_ns"], record["round_trip_cpus"], record["cpus_used"]) == (None, [0], "0")
    assert "empty_shootdown_ns" not in record


@pytest.mark.processes
def test_a_record_is_plain_json_with_the_facts_and_the_figures(script: Callable[[str], str]) -> None:
    code = """
import json, os
from kernels.race.clock import calibrate
from kernels.race.lines import load
from kernels.tdx.protocol import SHOOTDOWN
from stress.host.quick import fork_facts, host_record
from stress.processes.prepared import Prepared
cpus = tuple(sorted(os.sched_getaffinity(0)))
print(json.dumps({**host_record(Prepared(load(SHOOTDOWN), calibrate(), cpus)), **fork_facts()}, allow_nan=False))
"""

    record = json.loads(script(code))
    assert record["fork_ns"] > 0
    assert {"cpu_model", "busy", "cpus_used", "timer_ns", "round_trip_ns", "clock_error_ppm"} <= set(record)


def test_a_forked_child_that_somebody_else_ended_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda code: os.kill(os.getpid(), signal.SIGKILL))

    with pytest.raises(HarnessFault, match=r"^not everything was measured: a forked child \(pid \d+\) was ended by"):
        fork_facts()
