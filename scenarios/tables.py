"""Tables that stand in an ordering: how vCPUs are kicked, and what becomes of BUSY."""

from typing import Annotated

from pydantic import BaseModel, Discriminator, Field, Tag

from scenarios.busy import A_POLICY, BY_LOCK
from scenarios.fields import STRICT, Policy, one_of, word_or_more


class Kick(BaseModel):
    """How vCPUs are forced out: with which request, and whether the kicker waits for the IPIs to be acknowledged, which
    a step of its own says where the kick stands in its parts.
    """

    model_config = STRICT

    request: Annotated[str, one_of("request", ("tlb_flush", "none"))]
    wait: bool | None = None


class ByLock(BaseModel):
    """A policy for BUSY where mmu_lock is held for read, or not at all, and one where it is held for write."""

    model_config = STRICT

    read: Policy | None = Field(default=None, description=A_POLICY)
    write: Policy | None = Field(default=None, description=A_POLICY)


BusyPolicy = Annotated[Annotated[Policy, Tag("word")] | Annotated[ByLock, Tag("more")], Discriminator(word_or_more)]


class BusyBySeamcall(BaseModel):
    """What is done where a zapper's BLOCK, TRACK or REMOVE, or a fault's AUG or SEPT.ADD, is told TDX_OPERAND_BUSY and
    the shorthands do not say it.
    """

    model_config = STRICT

    block: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    track: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    remove: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    aug: BusyPolicy | None = Field(default=None, description=BY_LOCK)
    sept_add: BusyPolicy | None = Field(default=None, description=BY_LOCK)


LockKind = Annotated[str, one_of("kind of lock", ("rw", "spin", "rw_irq", "spin_irq"))]


class Locks(BaseModel):
    """How a vCPU takes the ordering's own locks: `rw` for read, `spin` for write, and `_irq` with interrupts off."""

    model_config = STRICT

    sept_lock: LockKind = "rw"
    track_lock: LockKind = "rw"
    page_table_lock: LockKind = "rw"
    tlbstate_lock: LockKind = "rw"
