"""The verb `replay`, as a user types it: a recording ends where it ended, or the first difference is named."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.search.schedule import Schedule, interpreted_machines
from kernels.tdx.protocol import SHOOTDOWN, of_flow
from kernels.tdx.rules import Rules
from kernels.tests.driver import enter
from kernels.tests.written_schedules import TRACK, wander
from scenarios.loader import load_ordering, shipped_orderings
from scenarios.witness import Witness, read_witness, witness_text
from scenarios.wording import ScenarioError
from stress.__main__ import explained
from stress.errors import UsageFault
from stress.explore.witness import DECIDING, Recorded, recorded, rules_digest, rules_of, title_of, write_pictures
from stress.options import ReplayRequest
from stress.replay import _difference, _prepared, _run, replay
from stress.tests.command import Command


class Size(NamedTuple):
    """How large a machine is, as the explorer says it."""

    vcpus: int = 1
    zappers: int = 1
    pages: int = 1
    tlb_entries: int = 1


def schedule(ordering: str, size: Size, *, shootdowns: int = 1) -> Schedule:
    rules = rules_of(load_ordering(ordering), shootdowns, ())
    return Schedule(*of_flow(rules), size, made=interpreted_machines(SHOOTDOWN))


def refusal() -> Recorded:
    """kick_then_track: a vCPU enters between the kick and TRACK; 41 steps."""
    run = schedule("kick_then_track", Size())
    run.until("zapper 0", TRACK)
    enter(run)
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    return recorded(load_ordering("kick_then_track"), run.rules, Size(), "tracking_not_done", run.taken)


@pytest.fixture(scope="module")
def recording() -> Recorded:
    return refusal()


@pytest.fixture
def file(tmp_path: Path, recording: Recorded) -> Path:
    path = tmp_path / "w.json"
    path.write_text(witness_text(recording.witness))
    return path


CUT: Any = object()


def edit(file: Path, **changed: Any) -> None:
    """The file with other values; CUT are its steps without the last."""
    whole = json.loads(file.read_text())
    others = {key: whole[key][:-1] if value is CUT else value for key, value in changed.items()}
    file.write_text(json.dumps({**whole, **others}))


def edit_step(file: Path, number: int, **changed: Any) -> None:
    whole = json.loads(file.read_text())
    whole["steps"][number - 1] |= changed
    file.write_text(json.dumps(whole))


def unwrapped(shown: str) -> str:
    """A cell's lines as one."""
    return re.sub(r"\n[ .]+", " ", shown)


def test_a_replay_ends_in_the_recorded_state_and_shows_the_race(here: Command, file: Path) -> None:
    done = here("replay", "w.json")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("kick_then_track shows tracking_not_done: 1 vCPU, 1 zapper, 1 page\n")
    assert "TDH.MEM.TRACK: SUCCESS" in done.stdout
    assert "<== tracking_not_done (forbidden): REMOVE refused: KVM_BUG_ON" in unwrapped(done.stdout)
    assert "zapper 0 stands at shootdown: write_unlock mmu_lock (kernels/tdx/kvm/shootdown.py:" in done.stdout
    assert re.search(
        r"\nAGREES: 41 of 41 steps, tracking_not_done, same state at the end \([0-9a-f]{12}\)\n$", done.stdout
    )


def test_verbose_gives_every_step_a_row_no_wider_than_the_terminal_and_has_no_colours_in_a_pipe(
    behind: Command, file: Path
) -> None:
    shown = behind("import os\nos.environ['COLUMNS'] = '80'", "replay", "w.json", "-v").stdout
    table = [line for line in shown.splitlines() if not line.startswith(("AGREES", "vcpu", "zapper"))]

    assert max(map(len, table)) <= 80
    assert "\x1b" not in shown
    assert len(re.findall(r"^\d+ ", shown, re.M)) == 41
    assert "mem_track: fetch_add_seq_cst epoch_tracking (kernels/tdx/module/mem.py:" in unwrapped(shown)


def test_until_stops_early_and_says_that_the_end_was_not_compared(here: Command, file: Path) -> None:
    done = here("replay", "w.json", "--until", "13")

    assert done.returncode == 0
    assert done.stdout.endswith("AGREES: 13 of 41 steps; the rest was left out, so the end was not compared\n")
    assert "TDH.MEM.RANGE.BLOCK page 0: SUCCESS" in done.stdout
    assert "TDH.MEM.TRACK" not in done.stdout


def test_until_0_is_the_start(here: Command, file: Path) -> None:
    done = here("replay", "w.json", "--until", "0", "--show", "words")

    assert done.returncode == 0
    assert "vcpu 0 stands at process_requests: load_acquire requests" in done.stdout
    assert re.search(r"^sept\[page 0\] +0x80000000000010c7 MAPPED hpa 1", done.stdout, re.M)


def test_words_are_shown_by_name_with_a_star_where_they_changed(here: Command, file: Path) -> None:
    shown = here("replay", "w.json", "--show", "words").stdout

    assert re.search(r"^epoch_tracking +\* 0x0000000002001000 E=2 R=\{0,1\}", shown, re.M)
    assert re.search(r"^mode\[vcpu 0\] +\* +1 IN_GUEST_MODE", shown, re.M)
    assert re.search(r"^gate +0 *$", shown, re.M)
    assert "pc" not in shown


def test_json_is_alone_on_stdout_and_out_leaves_the_trace_and_the_picture_twice(
    here: Command, file: Path, recording: Recorded, tmp_path: Path
) -> None:
    done = here("replay", "w.json", "--out", "pictures", "--json", "-")

    result = json.loads(done.stdout)
    assert (result["schema"], result["agrees"], result["whole"]) == ("tdx-stress/replay/1", True, True)
    assert result["end_state_sha256"] == recording.witness.end_state_sha256
    assert result["words"]["bepoch[page 0]"] == 1
    assert result["steps"] == [step.model_dump(mode="json") for step in recording.witness.steps]
    assert "AGREES: 41 of 41 steps" in done.stderr
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"trace.json", "timeline.png", "timeline.svg"}
    assert json.loads((tmp_path / "pictures/trace.json").read_text())["traceEvents"]
    assert "wrote pictures/trace.json\n" in done.stderr


@pytest.mark.parametrize(
    ("step", "changed", "said"),
    [
        (0, {"end_state_sha256": "0" * 64}, "after 41 of 41 steps: the state at the end differs: recorded 0000"),
        (
            0, {"outcome": "use_after_remove"},
            "after 41 of 41 steps: the outcome differs: recorded use_after_remove, the last step shows "
            "tracking_not_done\n",
        ),
        (0, {"steps": CUT}, "after 40 of 40 steps: the state at the end differs: recorded "),
        (30, {"old": 7}, "after 41 of 41 steps: step 30 differs: recorded zapper 0 mem_track: "),
        (5, {"chosen": 4}, "after 4 of 41 steps: step 5 cannot be taken: zapper 0 at "),
        (5, {"actor": "vcpu 3"}, "after 4 of 41 steps: step 5 cannot be taken: there is no vcpu 3\n"),
    ],
)  # fmt: skip
def test_the_first_difference_is_named_and_is_exit_1(
    here: Command, file: Path, step: int, changed: dict[str, Any], said: str
) -> None:
    if step:
        edit_step(file, step, **changed)
    else:
        edit(file, **changed)

    done = here("replay", "w.json", "-q")

    assert done.returncode == 1
    assert done.stdout.startswith(f"DIFFERS {said}")
    assert "chosen" not in changed or "expected a choice from 0 to 0, found 4" in done.stdout


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "9.9.9"}, "recorded by version 9.9.9 ("),
        ({"version": "9.9.9"}, ": explore again to record it anew"),
        ({"kernels": "0" * 24}, "(00000000), this is "),
        ({"layout": "0" * 24}, "recorded with another layout of the words: 00000000, this is "),
        ({"rules": "0" * 24}, "recorded from another ordering: rules 00000000, ordering kick_then_track has "),
        ({"shootdowns": 2}, "recorded from another ordering: rules "),
        ({"faults": ["no_flush_at_entry"]}, "recorded from another ordering: rules "),
        ({"faults": ["no_flush"]}, 'faults: unknown fault "no_flush"; did you mean "no_flush_at_entry"?'),
        ({"schema": "tdx-stress/witness/2"}, "expected schema tdx-stress/witness/1, found"),
        ({"size": {"vcpus": 2, "zappers": 1, "pages": 1, "tlb_entries": 1}}, "recorded with another layout"),
        (
            {"size": {"vcpus": 1, "zappers": 1, "pages": 1, "tlb_entries": 3}},
            "size: tlb_entries: expected a power of two",
        ),
        ({"outcome": "no_progress"}, "changed since it was recorded"),
        ({"waits": ["zapper 0 waits for vcpu 0"]}, "changed since it was recorded"),
        ({"head": CUT}, "changed since it was recorded: names, machine, faults or outcome are not its own"),
        ({"ordering": {"name": "mine", "shootdown": ["tracks"]}}, 'ordering: shootdown[0]: unknown step "tracks"; did'),
    ],
)
def test_a_file_from_elsewhere_is_refused_in_one_line_and_leaves_nothing(
    file: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    edit(file, **changed)

    with pytest.raises(UsageFault) as refused:
        replay(ReplayRequest(file=file, out=tmp_path / "pictures", json=str(tmp_path / "r.json")))

    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.json"]


@pytest.mark.parametrize("key", ["name", "title", "source", "expect", "faults"])
def test_what_the_ordering_is_called_and_said_to_be_is_its_own(file: Path, key: str) -> None:
    spec = load_ordering("spec").model_copy(update={"faults": ("no_flush_at_entry",)}).model_dump(mode="json")
    own = json.loads(file.read_text())["ordering"]
    edit(file, ordering={**own, key: spec[key]})

    assert own.get(key) != spec[key]
    with pytest.raises(UsageFault, match=r"w\.json: changed since it was recorded: names, machine, faults or outcome"):
        _prepared(ReplayRequest(file=file))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"file": Path("none.json")}, "none.json: expected a witness, found no such file"),
        ({"file": Path(".")}, ".: expected a witness, found a directory"),
        ({"until": 42}, "--until: expected a step from 0 to 41, found 42"),
        ({"until": -1}, "--until: expected a step from 0 to 41, found -1"),
        ({"show": "locks"}, '--show: expected words, found "locks"'),
        ({"ordering": "v18"}, "recorded from another ordering: from kick_then_track, not from v18"),
        ({"ordering": "v81"}, 'unknown ordering "v81"; did you mean "v18"?'),
        ({"out": Path("/proc/nowhere")}, "/proc/nowhere: cannot write"),
        ({"json": "/proc/nowhere/x"}, "--json: /proc/nowhere/x: cannot write"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(file: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises((UsageFault, ScenarioError)) as refused:
        replay(ReplayRequest(**{"file": file, **options}))
    line, code = explained(refused.value)

    assert code == 2
    assert said in line
    assert "\n" not in line


def test_quiet_leaves_the_verdict_and_nothing_is_compiled(tdx_stress: Command, file: Path, tmp_path: Path) -> None:
    own = ("--ordering", "kick_then_track", "-q")
    done = tdx_stress("replay", "w.json", *own, TDX_STRESS_CACHE=str(tmp_path / "cache"))

    assert done.returncode == 0
    assert done.stdout.startswith("AGREES: 41 of 41 steps")
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.glob("cache/**/*.code"))


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from([ordering.name for ordering in shipped_orderings()]),
    size=st.builds(Size, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.sampled_from([1, 2])),
    shootdowns=st.integers(1, 2),
    seed=st.integers(0, 1 << 32),
    steps=st.integers(1, 200),
)
def test_any_schedule_replays_to_its_state(name, size, shootdowns, seed, steps, tmp_path_factory):
    run = schedule(name, size, shootdowns=shootdowns)
    wander(run, seed, steps)
    path = tmp_path_factory.mktemp("witness") / "w.json"
    made = recorded(load_ordering(name), run.rules, size, "no_progress", run.taken)
    path.write_text(witness_text(made.witness))
    witness, narrator = _prepared(ReplayRequest(file=path))

    done = _run(witness, narrator, len(witness.steps))

    assert done.difference == ""
    assert done.whole
    assert (narrator.state() == run.words[: run.lay.state_words]).all()


def test_what_a_witness_holds_can_be_written_and_read_again(tmp_path: Path, recording: Recorded) -> None:
    (tmp_path / "witness.json").write_text(witness_text(recording.witness))
    places = write_pictures(tmp_path, recording.witness, recording.story, "tracking_not_done.")

    assert read_witness(tmp_path / "witness.json") == recording.witness
    assert [path.name for path in places] == [
        f"tracking_not_done.{name}" for name in ("trace.json", "timeline.png", "timeline.svg")
    ]
    assert all(path.stat().st_size for path in places)


def test_the_rules_digest_names_all_that_a_step_reads_and_nothing_else() -> None:
    base = Rules(*range(len(Rules._fields)))
    deciding = {name for name in Rules._fields if rules_digest(base._replace(**{name: 99})) != rules_digest(base)}

    assert deciding == set(DECIDING)
    assert set(Rules._fields) - deciding == {
        "pattern", "gap", "period", "start_offset", "start_offsets", "tick", "shared_cpus", "clock", "ticks_to_ns",
        "kick_by",
    }  # fmt: skip


def test_rules_that_are_not_the_ordering_s_are_no_witness() -> None:
    rules = rules_of(load_ordering("v18"), 1, ())

    with pytest.raises(ValueError, match="expected the rules that a search makes of spec, found others"):
        recorded(load_ordering("spec"), rules, Size(), "no_progress", [])


def test_a_title_says_what_it_is_of(recording: Recorded) -> None:
    faulty: Witness = recording.witness.model_copy(
        update={"faults": ("no_flush_at_entry",), "size": recording.witness.size.model_copy(update={"vcpus": 3})}
    )

    assert title_of(faulty) == ("kick_then_track shows tracking_not_done: 3 vCPUs, 1 zapper, 1 page; no_flush_at_entry")
    assert _difference(recording.witness, recording.story) == ""
