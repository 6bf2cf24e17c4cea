"""Whom a local names is said at the local: its spelling means nothing, and what could name an actor must say so."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.language.machine import Machine
from kernels.language.naming import Holds, OfMe, OneOf, SetOf
from kernels.language.syntax import ROOT, LanguageError
from kernels.search.tables import _holds
from kernels.tdx import bits, words
from kernels.tdx.kvm import kick as kvm
from kernels.tdx.parts.populate import first_read
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import Flow, flow_name
from kernels.tdx.words import VCPU, ZAPPER
from kernels.tests.programs import compiled

KNOWN = {
    "kick": kvm.kick, "next_vcpu": kvm.next_vcpu, "first_read": first_read, "mode": words.mode, "stage": words.stage,
    "owner": words.owner, "ipi": words.ipi, "shooter_of": bits.shooter_of, "awaiting": words.awaiting,
    "generation_of": bits.generation_of, "OneOf": OneOf, "SetOf": SetOf, "Holds": Holds, "OfMe": OfMe, "VCPU": VCPU,
}  # fmt: skip
UNDECLARED = "x may name an actor and is not declared: x: OneOf[...], SetOf, Holds or OfMe"
UNSAID = "says whose word is meant and is not declared"
REFUSED = {
    "its own name": ("x = 1 << me.index  # here", UNDECLARED),
    "a choice among vCPUs": ("x = yield next_vcpu(td, lay, rules, me, 0, 0)  # here", UNDECLARED),
    "what a page's word holds": ("x = yield load_acquire(td, owner(lay, 0))  # here", UNDECLARED),
    "what an IPI's word holds": ("x = yield load_acquire(td, ipi(lay, me.index))  # here", UNDECLARED),
    "what its own stage holds": ("x = own(td, stage(lay, me.index))  # here", UNDECLARED),
    "a part of it": ("x = shooter_of((yield load_acquire(td, owner(lay, 0))))  # here", UNDECLARED),
    "where its word stands": ("x = mode(lay, me.index)  # here", UNDECLARED),
    "what a function returns": ("x = yield from first_read(td, lay, rules, me, 0, 0)  # here", UNDECLARED),
    "what is made of a declared one": (
        "v: OneOf[VCPU] = yield next_vcpu(td, lay, rules, me, 0, 0)\nx = 1 << v  # here",
        UNDECLARED,
    ),
    "a counter by which a word is found": (
        "for x in range(lay.vcpus):\n    yield load_acquire(td, mode(lay, x))  # here",
        f"x {UNSAID}: x: OneOf[...]",
    ),
    "a counter among the vCPUs of a word": (
        "for x in range(lay.vcpus):\n    set_own(td, awaiting(lay, me.index, x), 0)  # here",
        f"x {UNSAID}: x: OneOf[...]",
    ),
    "a vCPU by number": ("yield load_acquire(td, mode(lay, 0))  # here", f"0 {UNSAID}: 0: OneOf[...]"),
    "a store into a word that names nobody": (
        "yield store_release(td, lay.gate, me.index)  # here",
        "me.index names an actor, lay.gate is no such word",
    ),
    "a parameter": (
        "yield from kick(td, lay, rules, me, 7, me.index, 0, 0)  # here",
        "me.index names an actor, request of kick is not declared to",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_undeclared_local_that_could_name_an_actor_is_refused(what: str) -> None:
    body, why = REFUSED[what]
    lines = ["@steps", "def f(td, lay, rules, me):", *(f"    {line}" for line in body.splitlines())]
    source = "\n".join([*lines, "    yield store_release(td, lay.gate, 0)", ""])
    line = next(number for number, text in enumerate(lines, 1) if text.endswith("# here"))

    with pytest.raises(LanguageError, match=re.escape(f">:{line}: {why}")):
        compiled(source, "f", **KNOWN)


def test_what_is_declared_and_what_names_nobody_is_taken() -> None:
    source = """
@steps
def f(td, lay, rules, me):
    v: OneOf[VCPU] = yield next_vcpu(td, lay, rules, me, 0, 0)
    s: SetOf[VCPU] = 1 << v
    s |= 1 << v
    w: Holds[owner] = yield load_acquire(td, owner(lay, 0))
    m: OfMe = 1 << me.index
    g = generation_of(w)
    again = w == (yield load_acquire(td, owner(lay, g)))
    was = yield load_acquire(td, mode(lay, v))
    yield store_release(td, ipi(lay, v), m)
    return again + was
"""
    made = compiled(source, "f", **KNOWN)

    assert made.parsed.naming == {"v": OneOf[VCPU], "s": SetOf[VCPU], "w": Holds[words.owner], "m": OfMe}
    assert (made.parsed.gives_name, made.parsed.in_order) == (False, "")


def test_what_is_said_to_name_nobody_is_the_same_whoever_is_named() -> None:
    pages = [5 << 8 | shooter << 2 | bits.Phase.BLOCKED for shooter in range(64)]

    assert {(bits.generation_of(page), bits.phase_of(page)) for page in pages} == {(5, bits.Phase.BLOCKED)}


@pytest.mark.parametrize("flow", [Flow.MMIO, Flow.TEARDOWN], ids=flow_name)
def test_a_flow_that_goes_through_vcpus_in_their_order_cannot_be_folded(flow) -> None:
    of_flow = protocol_of(flow)

    with pytest.raises(
        LanguageError, match=r"^kernels/[\w/]+\.py:\d+: actors are told apart here: .* cannot be folded$"
    ):
        _ = replace(of_flow, states=SHOOTDOWN.states).folds

    assert not replace(of_flow, states=replace(SHOOTDOWN.states, folds=False)).folds


def test_a_local_for_which_a_fingerprint_has_no_place_is_refused() -> None:
    def at_one_label(*naming) -> Machine:
        held = tuple(f"x_{place}" for place in range(len(naming)))
        named = dict(zip(held, naming, strict=True))
        return Machine("f", "", (None,), len(held), (held,), named, ((),), ((),), (False,), (frozenset(),))

    both, places = {VCPU: 1, ZAPPER: 1}, {OneOf[VCPU]: 1, SetOf[VCPU]: 2}

    assert _holds(ZAPPER, at_one_label(OneOf[VCPU], OfMe, SetOf[VCPU]), 0, both, places, 3) == [7, 1, 3]
    only_vcpus = {VCPU: 1, ZAPPER: 0}
    assert _holds(ZAPPER, at_one_label(OneOf[VCPU], OfMe, SetOf[VCPU]), 0, only_vcpus, places, 3) == [5, 1, 3]
    with pytest.raises(
        LanguageError, match=r"x_1 is OneOf.vcpu. beside another: kernels/search/tables.py has no place"
    ):
        _holds(ZAPPER, at_one_label(OneOf[VCPU], OneOf[VCPU]), 0, both, places, 3)
    with pytest.raises(LanguageError, match=r"x_0 is OneOf.vcpu.: kernels/search/tables.py has no place"):
        _holds(VCPU, at_one_label(OneOf[VCPU]), 0, both, {}, 3)


RENAMED = {
    "kick": {"vcpu": "who", "visited": "been", "mine": "bit"},
    "shootdown": {"from kernels.tdx.kvm.kick import": "from renamed_kick import"},
    "zapper": {"from kernels.tdx.kvm.shootdown import": "from renamed_shootdown import"},
    "guest": {"seen": "word", "how_far": "reached"},
    "vcpu_run": {"from kernels.tdx.guest import": "from renamed_guest import"},
}
ASK = """
from renamed_zapper import zapper
from renamed_vcpu_run import vcpu

from dataclasses import replace
from kernels.search.explore import explore
from kernels.tdx.protocol import SHOOTDOWN, Size
from kernels.tdx.words import VCPU, ZAPPER
from kernels.tests.orders import V18

renamed = replace(SHOOTDOWN, actors={VCPU: vcpu, ZAPPER: zapper})
print([explore(renamed, V18, size, liveness=False).states for size in (Size(2, 1), Size(1, 2))])
"""


def test_names_of_locals_mean_nothing_to_a_search(tmp_path: Path) -> None:
    """In place of 87,202 states there were 96,016 once, and still nothing was found."""
    for name, changes in RENAMED.items():
        (path,) = (ROOT / "kernels/tdx").rglob(f"{name}.py")
        text = path.read_text()
        for before, after in changes.items():
            text, count = re.subn(rf"(?<!\.)\b{before}\b", after, text)
            assert count
        (tmp_path / f"renamed_{name}.py").write_text(text)
    made = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(tmp_path), str(ROOT)]}\n{ASK}"],
        capture_output=True, text=True,
    )  # fmt: skip

    assert (made.stdout, made.stderr) == ("[87202, 9502]\n", "")
