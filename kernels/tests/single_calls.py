"""SEAMCALLs and TDCALLs as actors of their own: each takes one call on guest page 0 and keeps the status."""

import ast

from kernels.language.atomics import set_own
from kernels.language.entered import words_with_room
from kernels.language.steps import local
from kernels.language.syntax import Do, Parsed, Steps, Sub
from kernels.layout import NEXT_START, Layout
from kernels.tdx.bits import ONE_EPOCH
from kernels.tdx.module.lifecycle import phymem_page_wbinvd
from kernels.tdx.module.mem import (
    mem_page_accept,
    mem_page_aug,
    mem_page_remove,
    mem_range_block,
    mem_range_unblock,
    mem_track,
    td_exit,
    vp_enter,
)
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import Flow, Rules
from kernels.tdx.words import plan, vcpu_actor
from kernels.tests.orders import SPEC
from kernels.tests.three_translations import run_machine

ANSWER = NEXT_START  # of zappers in an open loop, of which there are none here
BUSY_EPOCH = 0x80000200000000A9
BUSY_TREE = 0x8000020000000092
BUSY_ENTRY = 0x8000020000000001
PREVIOUS_EPOCH_BUSY = 0x8000020100000000
NOT_TRACKED, NOT_TRACKED_TREE = 0xC0000B0800000001, 0xC0000B0800000092
NOT_BLOCKED = 0xC0000B0600000001
PAGE_NOT_FREE = 0xC0000B0E00000001
METADATA_INCORRECT = 0xC000030000000001
ALREADY_BLOCKED = 0x00000B0700000001
STATE_INCORRECT = 0xC0000B0D00000001
ALREADY_ACCEPTED = 0x00000B0A00000000
VIOLATION = 0x30


@local
def keep(td, me, status):
    """The status into a word of the tally that nothing else uses."""
    set_own(td, me.tally + ANSWER, status)


def kept(call: Steps, *arguments: int) -> Steps:
    """A function of steps that takes this call and keeps its status."""
    keeping = ast.parse("keep(td, me, status)", mode="eval").body
    assert isinstance(keeping, ast.Call)
    body = (Sub("status", call, tuple(map(ast.Constant, arguments))), Do(keeping, harness=False))
    return Steps(f"{call.name}_alone", keep, lambda _: Parsed(body, (), {}, False, ""))


def kept_of(flow: Flow, name: str, *arguments: int) -> Steps:
    """The same of a call as it is in a flow."""
    return kept(protocol_of(flow).steps[name], *arguments)


block, track, remove = kept(mem_range_block, 0), kept(mem_track), kept(mem_page_remove, 0)
unblock, wbinvd = kept(mem_range_unblock, 0), kept(phymem_page_wbinvd, 0)
aug, accept = kept(mem_page_aug, 0, 9), kept(mem_page_accept, 0)  # host page 9 behind guest page 0
enter, leave = kept(vp_enter), kept(td_exit)


class Machine:
    """Two vCPUs and one page, mapped and accepted, in epoch 1; calls are taken one after the other.

    `m[word]` is a word of the state by the name of its field, of vCPU 0 and page 0 where there are several.
    """

    def __init__(self, *, rules: Rules = SPEC, tlb_entries: int = 2) -> None:
        self.lay: Layout = plan(2, 1, 1, tlb_entries, flow=rules.flow, packed=True, vcpu_registers=8)
        self.rules = rules
        self.words = words_with_room(self.lay.total_words)
        SHOOTDOWN.prepare(self.words, self.lay, rules, 1)

    def __getitem__(self, word: str) -> int:
        return int(self.words[getattr(self.lay, word)])

    def __setitem__(self, word: str, value: int) -> None:
        self.words[getattr(self.lay, word)] = value

    def call(self, what: Steps, vcpu: int = 0) -> int:
        """The status of one call taken alone, as the 64 bits of RAX."""
        self.begin(what, "end", vcpu)
        return self.answer(vcpu)

    def begin(self, what: Steps, until: str, vcpu: int = 0) -> None:
        """Start a call and stop it where it is about to take the step of this site name."""
        me = vcpu_actor(self.lay, vcpu)
        self.words[[me.pc, *range(me.register, me.register + 8)]] = 0
        run_machine(what, self.words, self.lay, self.rules, me, until)

    def end(self, what: Steps, vcpu: int = 0) -> int:
        """The rest of a call that was begun; its status."""
        run_machine(what, self.words, self.lay, self.rules, vcpu_actor(self.lay, vcpu))
        return self.answer(vcpu)

    def answer(self, vcpu: int = 0) -> int:
        """The status that this vCPU's last call has left."""
        return int(self.words[vcpu_actor(self.lay, vcpu).tally + ANSWER]) & (1 << 64) - 1

    def epochs(self, epoch: int, even: int = 0, odd: int = 0) -> None:
        """The TD epoch, and how many vCPUs are inside that entered in even and in odd epochs."""
        self["epoch_tracking"] = epoch * ONE_EPOCH | odd << 12 | even


def unpacked(epochs: int) -> tuple[int, int, int]:
    """td_epoch, refcount[0], refcount[1] of the packed word."""
    return epochs >> 24, epochs & 4095, (epochs >> 12) & 4095
