import json
import os
import platform
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from stress.errors import CannotRunHere
from stress.host import doctor
from stress.options import DoctorRequest
from stress.processes.tests.spinning import spinning
from stress.tests.command import Command, Start, printed

pytestmark = pytest.mark.processes
CPUS = sorted(os.sched_getaffinity(0))


def test_the_table_has_every_finding_and_ends_with_a_judgement(tdx_stress: Command) -> None:
    done = tdx_stress("doctor")

    lines = done.stdout.splitlines()
    assert all(
        f" {what} " in done.stdout for what in ("CPUs", "hypervisor", "timer", "empty shootdown", "core to core")
    )
    # By what else runs here: a machine whose CPUs others have is weak, too.
    good = lines[-1].startswith("This machine is good for verdicts")
    assert good or lines[-1].startswith("This machine is weak for verdicts")
    assert done.returncode == (0 if good else 6)


@pytest.mark.skipif("len(CPUS) < 2")
def test_a_machine_whose_cpus_others_have_is_weak_for_verdicts(tdx_stress: Command) -> None:
    with spinning(4, CPUS[0]), spinning(4, CPUS[1]):
        done = tdx_stress("doctor", "--json", "--cpus", f"{CPUS[0]},{CPUS[1]}")

    told = printed(done)
    assert told["host"]["own_share"] < 0.8
    assert (done.returncode, told["judgement"]["because"]) == (6, ["load"])


@pytest.mark.skipif("len(CPUS) < 2")
def test_the_same_as_json_of_two_cpus_that_are_measured_against_each_other(tdx_stress: Command) -> None:
    result = printed(tdx_stress("doctor", "--json", "--cpus", f"{CPUS[0]},{CPUS[1]}"))

    assert result["schema"] == "tdx-stress/doctor/1"
    assert {"id", "what", "found", "means", "try", "limits"} == set(result["findings"][0])
    assert set(result["judgement"]) == {"limits", "sentence", "because"}
    host = result["host"]
    assert all(key in host for key in ("cpu_model", "round_trip_ns", "store_buffering", "fork_ns", "topology"))
    seen = host["store_buffering"]
    assert host["round_trips"] is None or host["round_trips"]["cpus"] == CPUS[:2]
    assert host["round_trip_cpus"] == CPUS[:2]
    assert seen is None or (seen["trials"], seen["missed_fenced"]) == (51200, 0)


def test_an_inherited_mask_of_one_cpu_is_kept_and_the_pair_probes_are_left_out(script: Callable[[str], str]) -> None:
    code = (
        f"import os; from stress.__main__ import _run; os.sched_setaffinity(0, {{{CPUS[-1]}}});"
        "print(_run(['doctor', '--json']))"
    )

    found, _, code = script(code).strip().rpartition("\n")

    told = json.loads(found)
    assert (code, told["host"]["cpus_used"]) == ("6", str(CPUS[-1]))
    assert "it takes two CPUs" in found
    assert told["judgement"]["sentence"].startswith("weak for verdicts")


def test_too_many_vcpus_are_exit_4(script: Callable[[str], str]) -> None:
    said = script(
        "from stress.host import facts as examination; from stress.__main__ import _run;"
        "examination.least_room = lambda: ('pids.max', 10);"
        "print(_run(['doctor', '--vcpus', '9']))"
    )

    assert said.split()[-1] == "4"
    assert "9 vCPUs do not fit: room for 8 (pids.max)" in " ".join(said.split())


def test_another_architecture_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    with pytest.raises(CannotRunHere, match=r"^expected Linux on x86-64 or aarch64, found Linux on riscv64$"):
        doctor.doctor(DoctorRequest(), (0,), None)


def test_ctrl_c_leaves_nobody_and_exits_130(start_tdx_stress: Start) -> None:
    parent = start_tdx_stress("doctor")
    until = time.monotonic() + 240
    while not psutil.Process(parent.pid).children() and time.monotonic() < until:
        time.sleep(0.0005)
    parent.send_signal(signal.SIGINT)

    stdout, stderr = parent.communicate()
    assert parent.returncode == 130
    assert "Traceback" not in stdout + stderr


def test_ctrl_c_once_all_is_measured_is_told(behind: Command) -> None:
    code = """
import os, signal
from stress.host import doctor

def judge(findings, own=doctor.judge):
    os.kill(os.getpid(), signal.SIGINT)
    return own(findings)

doctor.judge = judge
"""
    done = behind(code, "doctor")

    assert "This machine is " in done.stdout
    assert done.returncode == 130
    assert done.stderr.endswith("tdx-stress: interrupted; what was measured until then is shown\n")
