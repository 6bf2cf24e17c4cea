"""Facts of the machine: what numbers depend on, and nothing that names it, from small files that are there or not."""

import getpass
import json
import os
import platform
from pathlib import Path

import pytest

from results.machine.host import (
    CpuTimes,
    control_groups,
    cpu_list,
    cpu_quota,
    cpu_times,
    governor,
    host_facts,
    hypervisor,
    line,
    memory_to_be_had,
    number,
    shown_cpus,
    steal_share,
)
from results.tests.builders.machine import CLOCK, hang_up, two_sockets


def test_facts_are_plain_json_and_say_how_many_cpus_are_allowed():
    facts = host_facts()

    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["cpus_allowed"] == len(os.sched_getaffinity(0))


def test_facts_name_neither_the_host_nor_a_path_nor_a_user():
    values = [str(value) for value in host_facts().values()]

    assert not {platform.node(), os.getcwd(), os.path.expanduser("~"), getpass.getuser()} & set(values)
    assert not any(value.startswith("/") for value in values)
    assert not {"host", "hostname", "node", "user"} & set(host_facts())


def test_steal_is_a_share_of_all_time_between_two_moments():
    assert steal_share(CpuTimes(10.0, 1000.0), CpuTimes(12.0, 1100.0)) == 0.02
    assert steal_share(None, CpuTimes(1.0, 2.0)) is None
    assert steal_share(CpuTimes(1.0, 2.0), CpuTimes(1.0, 2.0)) is None


def test_cpu_times_are_read_on_linux():
    times = cpu_times()

    assert times is not None
    assert 0 <= times.steal_s <= times.total_s


def test_governors_that_differ_are_all_named(tmp_path: Path):
    root = two_sockets(tmp_path)

    assert governor(root, (0, 1)) == "performance"
    assert governor(root, (0, 2)) == "performance, powersave"
    assert governor(tmp_path / "none", (0, 2)) is None


@pytest.mark.parametrize(
    ("files", "flags", "name"),
    [
        ({}, set(), None),
        ({}, {"hypervisor"}, "unnamed"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, {"hypervisor"}, "QEMU"),
        ({"sys/class/dmi/id/sys_vendor": "A maker of real machines\n"}, set(), None),
        ({"sys/hypervisor/type": "xen\n"}, set(), "xen"),
        ({f"{CLOCK}/available_clocksource": "tsc kvm-clock acpi_pm\n"}, {"hypervisor"}, "KVM"),
        ({f"{CLOCK}/available_clocksource": "hyperv_clocksource_tsc_page\n"}, set(), "Hyper-V"),
        ({"sys/firmware/devicetree/base/hypervisor/compatible": "linux,kvm\0"}, set(), "kvm"),
    ],
)
def test_a_hypervisor_has_the_name_that_the_system_tells(
    tmp_path: Path, files: dict[str, str], flags: set[str], name: str | None
):
    assert hypervisor(hang_up(tmp_path, files), flags) == name


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({
         "proc/self/cgroup": "0::/outer/inner\n",
         "sys/fs/cgroup/outer/cpu.max": "100000 100000\n",
         "sys/fs/cgroup/outer/inner/cpu.max": "200000 100000\n",
         }, 1.0),
        ({
         "proc/self/cgroup": "4:cpu,cpuacct:/box\n",
         "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "50000\n",
         "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
         }, 0.5),
        ({
         "proc/self/cgroup": "4:cpu:/\n",
         "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
         "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
         }, None),
    ],
)  # fmt: skip
def test_a_quota_is_the_least_of_all_control_groups(tmp_path: Path, files: dict[str, str], cpus: float | None):
    assert cpu_quota(hang_up(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({
         "proc/self/cgroup": "0::/box\n",
         "sys/fs/cgroup/box/memory.max": "1000000\n",
         "sys/fs/cgroup/box/memory.current": "999000\n",
         }, 1000),
        ({
         "proc/self/cgroup": "0::/box\n",
         "sys/fs/cgroup/box/memory.max": "300000000\n",
         "sys/fs/cgroup/box/memory.current": "250000000\n",
         "sys/fs/cgroup/box/memory.stat": "anon 1\ninactive_file 20000000\nactive_file 7\n",
         }, 70_000_000),
        ({
         "proc/self/cgroup": "4:memory:/box\n",
         "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "3000000\n",
         "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "2500000\n",
         "sys/fs/cgroup/memory/box/memory.stat": "inactive_file 5\ntotal_inactive_file 1000\n",
         }, 501_000),
    ],
    ids=["nearly full", "with cached pages", "of version 1"],
)  # fmt: skip
def test_a_control_group_leaves_what_it_has_not_taken_but_for_what_can_be_given_back(
    tmp_path: Path, files: dict[str, str], left: int
):
    assert memory_to_be_had(hang_up(tmp_path, files)) == left


def test_a_control_group_without_a_limit_leaves_what_the_system_has(tmp_path: Path):
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}

    assert memory_to_be_had(hang_up(tmp_path, files)) > 1 << 20


def test_a_container_without_proc_and_sys_has_facts_that_are_none(tmp_path: Path):
    facts = host_facts(tmp_path)

    assert {key for key, value in facts.items() if value is None} >= {"smt", "governor", "hypervisor", "clocksource"}
    assert facts["cpu_model"]


def test_an_arm_cpu_is_named_by_its_numbers(tmp_path: Path):
    cpuinfo = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\nprocessor\t: 1\n"

    assert host_facts(hang_up(tmp_path, {"proc/cpuinfo": cpuinfo}))["cpu_model"] == "Arm implementer 0x41, part 0xd40"


def test_a_file_is_its_text_without_the_space_around_it(tmp_path: Path):
    root = hang_up(tmp_path, {"sys/name": " some text \n", "sys/tree": "linux,kvm\0"})

    assert (line(root, "sys/name"), line(root, "sys/tree")) == ("some text", "linux,kvm")


@pytest.mark.parametrize("path", ["sys/none", "sys", "sys/empty", "sys/empty/below"])
def test_what_is_not_there_or_empty_or_no_file_is_none(tmp_path: Path, path: str):
    root = hang_up(tmp_path, {"sys/empty": "\n"})

    assert line(root, path) is None


def test_a_number_is_a_whole_number_or_none(tmp_path: Path):
    root = hang_up(tmp_path, {"sys/few": "12\n", "sys/all": "max\n"})

    assert [number(root, path) for path in ("sys/few", "sys/all", "sys/none")] == [12, None, None]


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,6", (0, 1, 2, 3, 6)), ("5", (5,)), ("", ()), (None, ()), ("(null)", ()), ("2,x,4", (2, 4))]
)
def test_a_list_of_cpus_is_read_as_linux_writes_it(text: str | None, cpus: tuple[int, ...]):
    assert cpu_list(text) == cpus


def test_a_list_of_cpus_is_written_as_linux_reads_it():
    assert (shown_cpus([6, 1, 2, 0, 3]), shown_cpus([])) == ("0-3,6", "")


def test_control_groups_are_the_own_one_and_all_above_it(tmp_path: Path):
    root = hang_up(tmp_path, {"proc/self/cgroup": "3:cpu,cpuacct:/box\n0::/user.slice/mine\n"})

    assert control_groups(root) == ["sys/fs/cgroup/user.slice/mine", "sys/fs/cgroup/user.slice", "sys/fs/cgroup"]
    assert control_groups(root, "cpu") == ["sys/fs/cgroup/cpu/box", "sys/fs/cgroup/cpu"]
    assert control_groups(root, "memory") == []


def test_without_proc_there_are_no_control_groups(tmp_path: Path):
    assert control_groups(tmp_path) == []
