"""The verb `doctor`: what this machine can and cannot measure, and why. Looks, measures for a second, judges."""

import platform
import sys

from kernels.language.cache import is_kept
from kernels.race.lines import load
from kernels.race.probes import load_probes
from kernels.tdx.protocol import SHOOTDOWN
from results.machine.checks import diagnose
from results.machine.findings import Limits, findings_table, judge, round_trip_tables
from results.verdict import Exit
from stress.errors import CannotRunHere, HarnessFault, Interrupted
from stress.host.facts import examine
from stress.interrupts import Interrupts
from stress.options import DoctorRequest
from stress.processes.placement import Cpus
from stress.provenance import utc, version
from stress.screen import Screen
from stress.session import hand_out, json_text

SCHEMA = "tdx-stress/doctor/1"
EXIT_CODES = {Limits.verdicts: Exit.INCONCLUSIVE.value, Limits.everything: CannotRunHere.exit_code}
MACHINES = ("x86_64", "aarch64")


def doctor(request: DoctorRequest, cpus: Cpus, vcpus: int | None) -> int:
    """Examine the machine and say what was found; returns the exit code. Raises the errors of `stress.errors`."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise CannotRunHere(f"expected Linux on x86-64 or aarch64, found {platform.system()} on {platform.machine()}")
    started = utc()
    if not is_kept(("straight",)):
        Screen(sys.stderr, color=not request.no_color).line("compiling the kernels, once: about 5 s")
        load(SHOOTDOWN)  # before interrupts are only counted: who waits for the compiler can end it at once
        load_probes()
    with Interrupts() as interrupts:
        facts = examine(cpus, vcpus, lambda: bool(interrupts))
        findings = diagnose(facts)
        judgement = judge(findings)
        if request.json is not None:
            told = {
                "schema": SCHEMA,
                "version": version(),
                "started": started,
                "host": facts,
                "findings": [finding.as_dict() for finding in findings],
                "judgement": judgement.as_dict(),
            }
            hand_out(request.json, json_text(told))
        else:
            screen = Screen(sys.stdout, color=not request.no_color)
            width = screen.console.width
            screen.show(findings_table(findings), "", *round_trip_tables(facts["round_trips"], width))
            screen.line(f"This machine is {judgement.sentence}.")
        if interrupts:
            raise Interrupted("interrupted; what was measured until then is shown")
    if facts["crashed"] and judgement.limits is not Limits.everything:
        raise HarnessFault(f"not everything was measured: {facts['trouble']}")
    return EXIT_CODES.get(judgement.limits, 0)
