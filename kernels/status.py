"""Status codes of the TDX module: 64-bit RAX, as signed int64 so that they live in the shared words.

Source: intel/tdx-module TDX_1.5.01, status codes and operand ids; Linux arch/x86/kvm/vmx/tdx_errno.h.
The low 32 bits are the operand id for the codes that carry one.
"""

from enum import IntEnum


def signed(bits: int) -> int:
    """The int64 with the same 64 bits."""
    return bits - (1 << 64) if bits >> 63 else bits


RCX, R8, TD_EPOCH, SEPT_TREE = 0x01, 0x08, 0xA9, 0x92

SUCCESS = 0
OPERAND_INVALID = signed(0xC000010000000000)
OPERAND_BUSY = signed(0x8000020000000000)
PREVIOUS_TLB_EPOCH_BUSY = signed(0x8000020100000000)
BUSY_HOST_PRIORITY = signed(0x8000020400000000)
TLB_TRACKING_NOT_DONE = signed(0xC0000B0800000000)
EPT_WALK_FAILED = signed(0xC0000B0000000000)
GPA_RANGE_NOT_BLOCKED = signed(0xC0000B0600000000)
GPA_RANGE_ALREADY_BLOCKED = 0x00000B0700000000
PAGE_ALREADY_ACCEPTED = 0x00000B0A00000000
EPT_ENTRY_STATE_INCORRECT = signed(0xC0000B0D00000000)
# Not a SEAMCALL status: a guest access that ends in a TD exit with the EPT-violation reason.
EPT_VIOLATION_EXIT = 0x30

STATUS_MASK = signed(0xFFFFFFFF00000000)


class Status(IntEnum):
    """Where a status is counted; `NAMES` says how it prints."""

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
    OPERAND_INVALID = 11
    EPT_WALK_FAILED = 12
    OTHER = 15


NAMES = {
    Status.SUCCESS: "SUCCESS",
    Status.BUSY_TD_EPOCH: "OPERAND_BUSY|TD_EPOCH",
    Status.BUSY_SEPT_TREE: "OPERAND_BUSY|SEPT_TREE",
    Status.BUSY_RCX: "OPERAND_BUSY|RCX",
    Status.PREVIOUS_TLB_EPOCH_BUSY: "PREVIOUS_TLB_EPOCH_BUSY",
    Status.TLB_TRACKING_NOT_DONE: "TLB_TRACKING_NOT_DONE|RCX",
    Status.GPA_RANGE_NOT_BLOCKED: "GPA_RANGE_NOT_BLOCKED|RCX",
    Status.GPA_RANGE_ALREADY_BLOCKED: "GPA_RANGE_ALREADY_BLOCKED|RCX",
    Status.EPT_ENTRY_STATE_INCORRECT: "EPT_ENTRY_STATE_INCORRECT|RCX",
    Status.PAGE_ALREADY_ACCEPTED: "PAGE_ALREADY_ACCEPTED",
    Status.EPT_VIOLATION_EXIT: "EPT_VIOLATION_EXIT",
    Status.OPERAND_INVALID: "OPERAND_INVALID|RCX",
    Status.EPT_WALK_FAILED: "EPT_WALK_FAILED|RCX",
    Status.OTHER: "OTHER",
}


class Leaf(IntEnum):
    """The SEAMCALL or TDCALL leaf whose status is counted; the name prints with dots."""

    TDH_MEM_RANGE_BLOCK = 0
    TDH_MEM_TRACK = 1
    TDH_MEM_PAGE_REMOVE = 2
    TDH_MEM_PAGE_AUG = 3
    TDH_VP_ENTER = 4
    TDG_MEM_PAGE_ACCEPT = 5
    TDH_MEM_SEPT_ADD = 6


LEAF_NAMES = {leaf: leaf.name.replace("_", ".") for leaf in Leaf}
