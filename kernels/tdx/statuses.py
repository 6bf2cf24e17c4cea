"""Status codes of the TDX module: 64-bit RAX, as signed int64 so that they live in the shared words.

Source: intel/tdx-module TDX_1.5.01, status codes and operand ids; Linux arch/x86/kvm/vmx/tdx_errno.h.
The low 32 bits are the operand id for the codes that carry one.
"""

from enum import IntEnum

from kernels.tdx.outcomes import Outcome


def signed(bits: int) -> int:
    """The int64 with the same 64 bits."""
    return bits - (1 << 64) if bits >> 63 else bits


RCX, RDX, TD_EPOCH, SEPT_TREE, TDR = 0x01, 0x02, 0xA9, 0x92, 0x80

SUCCESS = 0
OPERAND_BUSY = signed(0x8000020000000000)
PAGE_METADATA_INCORRECT = signed(0xC000030000000000)
PREVIOUS_TLB_EPOCH_BUSY = signed(0x8000020100000000)
BUSY_HOST_PRIORITY = signed(0x8000020400000000)
HOST_PRIORITY_BUSY_TIMEOUT = signed(0x9000020500000000)
TLB_TRACKING_NOT_DONE = signed(0xC0000B0800000000)
EPT_WALK_FAILED = signed(0xC0000B0000000000)
EPT_ENTRY_NOT_PRESENT = signed(0xC0000B0300000000)
GPA_RANGE_NOT_BLOCKED = signed(0xC0000B0600000000)
GPA_RANGE_ALREADY_BLOCKED = 0x00000B0700000000
LIFECYCLE_STATE_INCORRECT = signed(0xC000060700000000)
TD_KEYS_NOT_CONFIGURED = signed(0x8000081000000000)
OP_STATE_INCORRECT = signed(0xC000060800000000)
VCPU_ASSOCIATED = signed(0x8000070100000000)
VCPU_NOT_ASSOCIATED = signed(0x8000070200000000)
FLUSHVP_NOT_DONE = signed(0x8000082400000000)
PAGE_ALREADY_ACCEPTED = 0x00000B0A00000000
EPT_ENTRY_STATE_INCORRECT = signed(0xC0000B0D00000000)
EPT_PAGE_NOT_FREE = signed(0xC0000B0E00000000)
# Not a SEAMCALL status: a guest access that ends in a TD exit with the EPT-violation reason.
EPT_VIOLATION_EXIT = 0x30
# Nor these, which KVM makes of BUSY: -EAGAIN to the caller, and a call that is passed by.
HANDED_UP, SKIPPED = 1, 2

STATUS_MASK = signed(0xFFFFFFFF00000000)
# EPT_ENTRY_STATE_INCORRECT|RCX of TDH.MEM.PAGE.AUG where RCX and RDX, which give the entry back, say that it is pending
# with the very page that was to be added. RAX has no such bit: it stands for those two registers.
SAME_PAGE_PENDING = EPT_ENTRY_STATE_INCORRECT | RCX | 1 << 16


class Status(IntEnum):
    """Where a status is counted; its row below says all else."""

    SUCCESS = 0
    BUSY_TD_EPOCH = 1
    BUSY_SEPT_TREE = 2
    BUSY_RCX = 3
    PREVIOUS_TLB_EPOCH_BUSY = 4
    TLB_TRACKING_NOT_DONE = 5
    GPA_RANGE_NOT_BLOCKED = 6
    GPA_RANGE_ALREADY_BLOCKED = 7
    EPT_ENTRY_STATE_INCORRECT = 8
    PAGE_ALREADY_ACCEPTED = 9
    EPT_VIOLATION_EXIT = 10
    EPT_WALK_FAILED = 12
    BUSY_RDX = 13
    OTHER = 15
    VCPU_ASSOCIATED = 16
    VCPU_NOT_ASSOCIATED = 17
    FLUSHVP_NOT_DONE = 18
    EPT_PAGE_NOT_FREE = 19
    BUSY_TDR = 20
    LIFECYCLE_STATE_INCORRECT = 21
    OP_STATE_INCORRECT = 22
    HOST_PRIORITY_BUSY_TIMEOUT = 23
    TD_KEYS_NOT_CONFIGURED = 24
    EPT_ENTRY_NOT_PRESENT = 25
    TLB_TRACKING_NOT_DONE_TREE = 26
    PAGE_METADATA_INCORRECT = 27


# A status as RAX has it, where it is counted, the operand that it prints with, and the outcome that it is.
ROWS: tuple[tuple[int, Status, str, Outcome | None], ...] = (
    (SUCCESS, Status.SUCCESS, "", None),
    (OPERAND_BUSY | TD_EPOCH, Status.BUSY_TD_EPOCH, "TD_EPOCH", Outcome.operand_busy),
    (OPERAND_BUSY | SEPT_TREE, Status.BUSY_SEPT_TREE, "SEPT_TREE", Outcome.operand_busy),
    (OPERAND_BUSY | RCX, Status.BUSY_RCX, "RCX", Outcome.operand_busy),
    (PREVIOUS_TLB_EPOCH_BUSY, Status.PREVIOUS_TLB_EPOCH_BUSY, "", Outcome.previous_epoch_busy),
    (TLB_TRACKING_NOT_DONE | RCX, Status.TLB_TRACKING_NOT_DONE, "RCX", Outcome.tracking_not_done),
    (TLB_TRACKING_NOT_DONE | SEPT_TREE, Status.TLB_TRACKING_NOT_DONE_TREE, "SEPT_TREE", Outcome.tracking_not_done),
    (GPA_RANGE_NOT_BLOCKED | RCX, Status.GPA_RANGE_NOT_BLOCKED, "RCX", Outcome.not_blocked),
    (GPA_RANGE_ALREADY_BLOCKED | RCX, Status.GPA_RANGE_ALREADY_BLOCKED, "RCX", Outcome.already_blocked),
    (EPT_ENTRY_STATE_INCORRECT | RCX, Status.EPT_ENTRY_STATE_INCORRECT, "RCX", Outcome.entry_state_incorrect),
    (SAME_PAGE_PENDING, Status.EPT_ENTRY_STATE_INCORRECT, "RCX", Outcome.entry_state_incorrect),
    (PAGE_ALREADY_ACCEPTED, Status.PAGE_ALREADY_ACCEPTED, "", Outcome.page_already_accepted),
    (EPT_VIOLATION_EXIT, Status.EPT_VIOLATION_EXIT, "", Outcome.fault),
    (EPT_WALK_FAILED | RCX, Status.EPT_WALK_FAILED, "RCX", Outcome.ept_walk_failed),
    (EPT_ENTRY_NOT_PRESENT | RCX, Status.EPT_ENTRY_NOT_PRESENT, "RCX", Outcome.entry_state_incorrect),
    (VCPU_ASSOCIATED, Status.VCPU_ASSOCIATED, "", Outcome.vcpu_associated),
    (VCPU_NOT_ASSOCIATED, Status.VCPU_NOT_ASSOCIATED, "", Outcome.vcpu_not_associated),
    (FLUSHVP_NOT_DONE, Status.FLUSHVP_NOT_DONE, "", Outcome.flushvp_not_done),
    (EPT_PAGE_NOT_FREE | RCX, Status.EPT_PAGE_NOT_FREE, "RCX", Outcome.ept_page_not_free),
    (OPERAND_BUSY | TDR, Status.BUSY_TDR, "TDR", Outcome.operand_busy),
    (OPERAND_BUSY | RDX, Status.BUSY_RDX, "RDX", Outcome.operand_busy),
    (LIFECYCLE_STATE_INCORRECT, Status.LIFECYCLE_STATE_INCORRECT, "", Outcome.td_state_incorrect),
    (TD_KEYS_NOT_CONFIGURED, Status.TD_KEYS_NOT_CONFIGURED, "", Outcome.td_state_incorrect),
    (OP_STATE_INCORRECT, Status.OP_STATE_INCORRECT, "", Outcome.td_state_incorrect),
    (PAGE_METADATA_INCORRECT | RCX, Status.PAGE_METADATA_INCORRECT, "RCX", Outcome.metadata_incorrect),
    (HOST_PRIORITY_BUSY_TIMEOUT, Status.HOST_PRIORITY_BUSY_TIMEOUT, "", Outcome.host_priority_timeout),
)
# One code with several operands.
CODES = {Outcome.operand_busy: "OPERAND_BUSY", Outcome.tracking_not_done: "TLB_TRACKING_NOT_DONE"}
NAMES = {Status.OTHER: "OTHER"} | {
    place: (CODES.get(outcome, place.name) if outcome else place.name) + "|" * bool(operand) + operand
    for _, place, operand, outcome in ROWS
}
PLACE_OF_STATUS = tuple((code, int(place)) for code, place, _, _ in ROWS)
# BUSY is one outcome whatever the operand.
OUTCOME_OF_STATUS = (
    (STATUS_MASK, OPERAND_BUSY, int(Outcome.operand_busy)),
    *((-1, code, int(it)) for code, _, _, it in ROWS if it is not None and it != Outcome.operand_busy),
)


class Leaf(IntEnum):
    """The SEAMCALL or TDCALL leaf whose status is counted; the name prints with dots."""

    TDH_MEM_RANGE_BLOCK = 0
    TDH_MEM_TRACK = 1
    TDH_MEM_PAGE_REMOVE = 2
    TDH_MEM_PAGE_AUG = 3
    TDH_VP_ENTER = 4
    TDG_MEM_PAGE_ACCEPT = 5
    TDH_MEM_SEPT_ADD = 6
    TDH_VP_FLUSH = 7
    TDH_MNG_VPFLUSHDONE = 8
    TDH_MEM_SEPT_REMOVE = 9
    TDH_MEM_PAGE_ADD = 10
    TDH_MNG_KEY_FREEID = 11
    TDH_PHYMEM_PAGE_RECLAIM = 12
    TDH_VP_CREATE = 13
    TDH_VP_INIT = 14
    TDH_MR_EXTEND = 15
    TDH_MR_FINALIZE = 16
    TDH_MEM_RANGE_UNBLOCK = 17
    TDH_PHYMEM_PAGE_WBINVD = 18


LEAF_NAMES = {leaf: leaf.name.replace("_", ".") for leaf in Leaf}
