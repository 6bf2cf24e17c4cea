"""Facts of the machine: what numbers depend on, and nothing that names it."""

import getpass
import json
import os
import platform

import pytest

from results.host import CpuTimes, cpu_times, host_facts, steal_share


def test_facts_are_plain_json():
    facts = host_facts()

    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_facts_say_how_many_cpus_are_allowed():
    assert host_facts()["cpus_allowed"] == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("secret", [platform.node(), os.getcwd(), os.path.expanduser("~")])
def test_facts_name_neither_the_host_nor_a_path(secret: str):
    values = [str(value) for value in host_facts().values()]

    assert secret not in values
    assert not any("/" in value and value.startswith("/") for value in values)


def test_facts_have_no_key_for_a_user():
    assert getpass.getuser() not in host_facts().values()
    assert not {"host", "hostname", "node", "user"} & set(host_facts())


def test_steal_is_a_share_of_all_time_between_two_moments():
    assert steal_share(CpuTimes(10.0, 1000.0), CpuTimes(12.0, 1100.0)) == 0.02


def test_steal_is_unknown_without_two_moments():
    assert steal_share(None, CpuTimes(1.0, 2.0)) is None
    assert steal_share(CpuTimes(1.0, 2.0), CpuTimes(1.0, 2.0)) is None


def test_cpu_times_are_read_on_linux():
    times = cpu_times()

    assert times is not None
    assert 0 <= times.steal_s <= times.total_s
