"""The verb `list`: what there is, kind by kind, and one thing whole."""

import json
from pathlib import Path

import pytest

from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Fault
from scenarios.loader import load_ordering
from scenarios.reals import REAL_FAULTS
from stress.list import everything
from stress.tests.command import Command


def test_list_prints_every_kind_and_of_one_kind_the_sources(here: Command) -> None:
    done = here("list")

    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"{kind}\n" in done.stdout for kind in ("SCENARIOS", "ORDERINGS", "OUTCOMES", "FAULTS", "PARTS"))
    assert "[unsafe: tracking_not_done]" in done.stdout
    assert "BARRIERS" not in done.stdout  # long, and of another kind
    assert "kernels/tdx/outcomes.py" not in done.stdout
    assert "kernels/tdx/outcomes.py" in here("list", "outcomes").stdout


def test_list_barriers_tells_of_each_word_who_accesses_it_in_which_memory_order(here: Command) -> None:
    done = here("list", "barriers")

    assert done.stdout.startswith("BARRIERS\n  stage ")
    assert "  gate               load_acquire: flush_tlb\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80 + len("tdx-stress list NAME")
    assert "\nstore_release: lower_gate\n" in here("list", "gate").stdout


@pytest.mark.parametrize(("kind", "others"), [("orderings", "FAULTS"), ("faults", "ORDERINGS")])
def test_list_prints_one_kind_alone(here: Command, kind: str, others: str) -> None:
    done = here("list", kind)

    assert done.stdout.startswith(f"{kind.upper()}\n")
    assert others not in done.stdout
    assert list(json.loads(here("list", kind, "--json").stdout)) == [kind]


def test_list_prints_a_shipped_ordering_from_which_one_of_your_own_can_start(here: Command, tmp_path: Path) -> None:
    done = here("list", "v18")
    (tmp_path / "mine.toml").write_text(done.stdout)

    assert done.stdout.startswith("# ordering v18\n")
    assert '\n# hkid_free = "first" (left out): whether a TD' in done.stdout
    assert load_ordering(str(tmp_path / "mine.toml")).shootdown == load_ordering("v18").shootdown
    assert here("list", "use_after_remove").stdout.startswith("# outcome\nname: use_after_remove\n")


def test_list_prints_what_is_taken_of_an_order_by_its_steps(here: Command) -> None:
    done = here("list", "block,gate_raise,kick,track,gate_lower,remove")

    assert "# Steps as typed, with v18's counter, request and entry, mmu_lock not held for write\n" in done.stdout
    assert 'gate = "counter"' in done.stdout
    assert "serialized = false" in done.stdout


def test_list_says_what_a_rate_is_of_and_prints_no_key_without_a_value(here: Command) -> None:
    fault = here("list", "no_flush_at_entry").stdout

    assert "\nrate_of: shootdowns that met a vCPU\n" in here("list", "stale_in_window").stdout
    assert "\nrate_of: reads\n" in here("list", "fresh").stdout
    assert "\nshows: " in fault
    assert "beside" not in fault


def test_list_prints_the_schema_of_what_a_verb_leaves(here: Command) -> None:
    [schema] = json.loads(here("list", "--schema", "orders").stdout).values()

    assert {"steps", "machines", "orders"} <= set(schema["properties"])
    assert 'unknown kind "order"; did you mean "orders"?' in here("list", "--schema", "order").stderr
    assert "; expected run, bench, real, " in here("list", "--schema", "v18").stderr


def test_list_as_json_holds_every_outcome_and_fault(here: Command) -> None:
    listed = json.loads(here("list", "--json").stdout)

    assert listed == everything()
    assert [outcome["name"] for outcome in listed["outcomes"]] == [outcome.name for outcome in Outcome]
    modelled = {str(fault.name).lower() for fault in Fault}
    assert {fault["name"] for fault in listed["faults"]} == modelled | {*REAL_FAULTS}
    assert all(entry.keys() == {"name", "accesses"} for entry in listed.pop("barriers"))
    assert all(entry["title"] and entry["source"] for entries in listed.values() for entry in entries)
