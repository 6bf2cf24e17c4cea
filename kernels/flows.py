"""Which actors a machine has: for each flow of the patch, what a vCPU does and what a zapper does.

A flow has step machines and straight lines of its own, compiled when they are first wanted: what one flow needs costs
the others nothing, neither words of the state nor time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kernels.batch import batch_zapper
from kernels.faulting import faulting_vcpu
from kernels.flush_current import tracking_vcpu
from kernels.language import LanguageError, Site, Step, Steps, number_first
from kernels.migrate import migrating_vcpu
from kernels.mmio_actors import mmio_vcpu, mmio_zapper
from kernels.mortal import mortal_vcpu
from kernels.page_tables import freeing_zapper
from kernels.parse import flat
from kernels.rooms import check, rooms
from kernels.rules import Flow
from kernels.shared import shared_zapper
from kernels.stepping import stepping_vcpu
from kernels.straight import subs
from kernels.teardown import destroying_zapper
from kernels.vcpu import vcpu
from kernels.zapper import zapper
from kernels.zapping import zapping_zapper


@dataclass(frozen=True, slots=True)
class Actors:
    """The functions of steps of a flow's actors. Their names are those of compiled files: flows share one only where
    they share the function.

    `folds`: whether a search may take states for one that differ only in the names of vCPUs or zappers; then no step
    tells them apart (`kernels/naming.py`). `in_step`: whether KVM's mirror says of every page what the S-EPT says; see
    `kernels/invariants.py`.
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
