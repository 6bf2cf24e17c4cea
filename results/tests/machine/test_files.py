"""Small files of the system, there or not."""

from pathlib import Path

import pytest

from results.machine.host import control_groups, cpu_list, line, number, shown_cpus
from results.tests.builders.machine import hang_up


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
