"""A witness is written whole, read back as it was, and refused in one line where it does not hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from scenarios.witness import Size, Step, Witness, WitnessError, read_witness, witness_text

STEP = Step(
    actor="vcpu 0", chosen=0, label="vcpu: store_seq_cst mode", at="kernels/tdx/kvm/vcpu_run.py:194",
    word="mode[vcpu 0]", old=0, new=1, before="OUTSIDE_GUEST_MODE", after="IN_GUEST_MODE",
)  # fmt: skip
CHOICE = Step(
    actor="zapper 12",
    chosen=3,
    label="claim_page: any_page",
    at="kernels/tdx/kvm/shootdown.py:283",
    says="takes page 3",
)
LAST = Step(
    actor="zapper 0", chosen=0, label="mem_page_remove: unlock_shared tree_lock", at="kernels/tdx/module/mem.py:141",
    word="tree_lock", old=-(1 << 63), new=(1 << 63) - 1, status="TDH.MEM.PAGE.REMOVE: TLB_TRACKING_NOT_DONE|RCX",
    outcomes=("tracking_not_done",),
)  # fmt: skip
WITNESS = Witness(
    version="0.1.0", kernels="0123456789abcdef01234567", layout="0123456789abcdef01234567",
    rules="0123456789abcdef01234567", ordering={"name": "mine", "shootdown": ["block", "remove"]},
    size=Size(vcpus=2, zappers=1, pages=1, tlb_entries=1), shootdowns=2, faults=("no_flush_at_entry",),
    outcome="tracking_not_done", steps=(STEP, CHOICE, LAST), end_state_sha256="f" * 64,
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "w.json"
    path.write_text(witness_text(WITNESS))
    return path


def changed(file: Path, *keys: Any, to: Any) -> Path:
    """The file with one value changed; `...` takes it out."""
    whole = json.loads(file.read_text())
    inner = whole
    for key in keys[:-1]:
        inner = inner[key]
    if to is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to
    file.write_text(json.dumps(whole))
    return file


def test_a_witness_is_read_back_as_it_was_written(file):
    assert read_witness(file) == WITNESS


def test_a_file_is_json_with_a_step_a_line():
    lines = witness_text(WITNESS).splitlines()

    assert json.loads(witness_text(WITNESS))["schema"] == "tdx-stress/witness/1"
    assert sum('"actor"' in line for line in lines) == 3
    assert json.loads(witness_text(WITNESS))["steps"][1] == {
        "actor": "zapper 12", "chosen": 3, "label": "claim_page: any_page", "at": "kernels/tdx/kvm/shootdown.py:283",
        "word": None, "old": None, "new": None, "says": "takes page 3", "outcomes": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "to", "said"),
    [
        (("schema",), "tdx-stress/result/1", 'expected schema tdx-stress/witness/1, found "tdx-stress/result/1"'),
        (("schema",), ..., "expected schema tdx-stress/witness/1, found null"),
        (("outcome",), ..., "outcome: missing; expected the outcome that it shows"),
        (("kernels",), "xyz", 'kernels: expected a digest in hexadecimal digits, found "xyz"'),
        (("size", "vcpus"), 0, "size.vcpus: expected a whole number from 1 to 512, found 0"),
        (("size", "vcpus"), True, "size.vcpus: expected a whole number from 1 to 512, found true"),
        (("size",), [], "size: expected a table of vcpus, zappers, pages and tlb_entries, found []"),
        (("shootdowns",), 0, "shootdowns: expected a whole number from 1, found 0"),
        (("steps",), [], "steps: expected a list of at least one step, found []"),
        (("steps",), None, "steps: expected a list of at least one step, found null"),
        (("steps", 1), 7, "steps[1]: expected a step's table, found 7"),
        (("steps", 1, "actor"), "bob", 'steps[1].actor: expected an actor such as "vcpu 0", found "bob"'),
        (("steps", 1, "chosen"), -1, "steps[1].chosen: expected a whole number from 0, found -1"),
        (("steps", 1, "chosen"), ..., "steps[1].chosen: missing; expected a whole number from 0"),
        (("steps", 0, "old"), 1 << 64, "steps[0].old: expected a whole number of 64 bits, found 18446744073709551616"),
        (("steps", 0, "chooses"), 1, "steps[0].chooses: unknown key"),
        (("ordering",), "v18", 'ordering: expected the ordering\'s table, found "v18"'),
        (("faults",), "no", 'faults: expected a list of faults, found "no"'),
        (("extra",), 1, "extra: unknown key"),
        (("end_state_sha256",), 5, "end_state_sha256: expected a digest in hexadecimal digits, found 5"),
    ],
)
def test_a_file_that_does_not_hold_is_refused_in_one_line(file, keys, to, said):
    with pytest.raises(WitnessError) as refused:
        read_witness(changed(file, *keys, to=to))

    assert str(refused.value) == f"{file}: {said}"


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_said_to_be(file, part):
    text = file.read_text()
    file.write_text(text[: int(len(text) * part)])

    with pytest.raises(WitnessError, match=r"w.json: line \d+: expected JSON, found "):
        read_witness(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: expected JSON, found the end of the file: it is cut off"),
        (b'{"schema": "tdx', "line 1: expected JSON, found the end of the file: it is cut off"),
        (b"{]", "line 1: expected JSON, found an error: expecting property name enclosed in double quotes"),
        (b"[1, 2]", "expected a witness, found JSON that is no table"),
        (b"\xff\xfe{}", "expected JSON in UTF-8, found other bytes"),
        (b"[" * 200_000, "expected JSON, found "),
        (b"[" + b"9" * 10_000 + b"]", "expected JSON, found "),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "w.json"
    path.write_bytes(content)

    with pytest.raises(WitnessError) as refused:
        read_witness(path)
    assert str(refused.value).startswith(f"{path}: {said}")
    assert "\n" not in str(refused.value)


def test_a_file_without_end_is_refused():
    with pytest.raises(WitnessError, match="expected a witness of at most 64 MiB, found more"):
        read_witness(Path("/dev/zero"))
