"""What takes a vCPU's CPU for real where a race's kick has sent its IPI: a system call beside the vCPU's own word.

Source: virt/kvm/kvm_main.c kvm_kick_many_cpus(), which is smp_call_function_many() with the handler ack_kick(), and
kernel/sched/membarrier.c membarrier_global_expedited(), which is the same call with the handler ipi_mb(). That one goes
to every CPU that runs a registered process, so to a vCPU that is out of its guest as well; KVM asks for those in it.
"""

from kernels.language.atomics import end_process, load_relaxed, membarrier, own, set_own, signal_thread
from kernels.language.steps import harness
from kernels.language.syntax import out_of_line
from kernels.tdx.counters import IPIS, IPIS_BEFORE
from kernels.tdx.rules import KickBy

REFUSED = 72  # the exit code of an actor whose kick the kernel has refused


@out_of_line
@harness()
def interrupt(td, lay, rules, vcpu):
    """Behind the IPI to one vCPU."""
    if rules.kick_by == KickBy.SIGNAL:
        if signal_thread(load_relaxed(td, lay.threads + vcpu)) != 0:
            end_process(REFUSED)


@out_of_line
@harness()
def interrupt_all(td, rules, me):
    """Behind all IPIs of a kick, if there were any; waits until every CPU has answered."""
    sent = own(td, me.tally + IPIS)
    if rules.kick_by == KickBy.MEMBARRIER and sent != own(td, me.tally + IPIS_BEFORE):
        set_own(td, me.tally + IPIS_BEFORE, sent)
        if membarrier() != 0:
            end_process(REFUSED)
