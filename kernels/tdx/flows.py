"""Which actors a machine has: for each flow of the patch, what a vCPU does and what a zapper does.

A flow has step machines and straight lines of its own, compiled when they are first wanted: what one flow needs costs
the others nothing, neither words of the state nor time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kernels.language.parse import flat
from kernels.language.straight import subs
from kernels.language.syntax import LanguageError, Site, Step, Steps, number_first
from kernels.tdx.kvm.shootdown import zapper
from kernels.tdx.kvm.vcpu_run import vcpu
from kernels.tdx.kvm.zap import zapping_zapper
from kernels.tdx.parts.batch import batch_zapper
from kernels.tdx.parts.flush_current import tracking_vcpu
from kernels.tdx.parts.migrate import migrating_vcpu
from kernels.tdx.parts.mmio import mmio_vcpu, mmio_zapper
from kernels.tdx.parts.mortal import mortal_vcpu
from kernels.tdx.parts.populate import faulting_vcpu
from kernels.tdx.parts.sept_pages import freeing_zapper
from kernels.tdx.parts.shared_ept import shared_zapper
from kernels.tdx.parts.teardown import destroying_zapper
from kernels.tdx.parts.zero_step import stepping_vcpu
from kernels.tdx.rooms import check, rooms
from kernels.tdx.rules import Flow


@dataclass(frozen=True, slots=True)
class Actors:
    """The functions of steps of a flow's actors. Their names are those of compiled files: flows share one only where
    they share the function.

    `folds`: whether a search may take states for one that differ only in the names of vCPUs or zappers; then no step
    tells them apart (`kernels/language/naming.py`). `in_step`: whether KVM's mirror says of every page what the S-EPT
    says; see `kernels/tdx/invariants.py`.
    """

    vcpu: Steps
    zapper: Steps
    folds: bool = True
    in_step: bool = False

    def __post_init__(self) -> None:
        told = [one.in_order for actor in (self.vcpu, self.zapper) for one in subs(actor) if one.in_order]
        if self.folds and told:
            raise LanguageError(f"{told[0]}: actors are told apart here: {self.zapper.name} cannot be folded")

    def of(self, kind: str) -> Steps:
        """The function of one kind of actor, `vcpu` or `zapper`."""
        return {"vcpu": self.vcpu, "zapper": self.zapper}[kind]


FLOWS = {
    Flow.SHOOTDOWN: Actors(vcpu, zapper),
    Flow.BATCH: Actors(vcpu, batch_zapper),
    Flow.SHARED_EPT: Actors(vcpu, shared_zapper),
    Flow.MIGRATE: Actors(migrating_vcpu, zapper, folds=False),
    Flow.MMIO: Actors(mmio_vcpu, mmio_zapper, folds=False),
    Flow.POPULATE: Actors(faulting_vcpu, zapping_zapper, in_step=True),
    Flow.SEPT_PAGES: Actors(faulting_vcpu, freeing_zapper, in_step=True),
    Flow.TEARDOWN: Actors(mortal_vcpu, destroying_zapper, folds=False),
    Flow.ZERO_STEP: Actors(stepping_vcpu, zapping_zapper, in_step=True),
    Flow.FLUSH_CURRENT: Actors(tracking_vcpu, zapper, folds=False),
}


def sites() -> Iterator[Site]:
    """Those of every flow in turn; what two flows share comes twice."""
    for actors in FLOWS.values():
        for function in (*subs(actors.vcpu), *subs(actors.zapper)):
            yield from (statement.site for statement in flat(function.body) if isinstance(statement, Step))


number_first(sites())
check(rooms())
