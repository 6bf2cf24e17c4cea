"""A kick that interrupts for real: system calls that are really made, and what becomes of a race where one is refused.

Whether membarrier(2) is called is asked of the kernel: a filter of seccomp(2) that lasts as long as its process refuses
one of its commands, as a kernel without it would.
"""

import pytest

from stress.tests.command import Script

# A process of its own, as a filter is for good and a test's process has threads.
pytestmark = pytest.mark.processes

REFUSING = """
import ctypes, os, sys
from kernels.language.llvm import (
    MEMBARRIER_GLOBAL, MEMBARRIER_QUERY, MEMBARRIER_REGISTER_GLOBAL, system_call_number,
)

LOAD, IF, END = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
ALLOW, EPERM = 0x7FFF0000, 0x00050001

def refuse(command):
    class Line(ctypes.Structure):
        _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint))
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.POINTER(Line)))
    lines = (
        (LOAD, 0, 0, 0), (IF, 0, 3, system_call_number("membarrier")), (LOAD, 0, 0, 16), (IF, 0, 1, command),
        (END, 0, 0, EPERM), (END, 0, 0, ALLOW),
    )
    made = (Line * len(lines))(*lines)
    prctl = ctypes.CDLL(None).prctl
    assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert prctl(22, 2, ctypes.byref(Program(len(lines), made)), 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

def race(*arguments):
    import stress.__main__
    sys.argv = ["tdx-stress", "run", "small", "--ordering", "spec", "--no-report", "--warmup", "0", *arguments]
    try:
        stress.__main__.main()
    except SystemExit as ended:
        print("exit code", ended.code or 0)
"""
# Some of them meet the vCPU: on a machine with a single CPU, too, where it has lost that one in its guest.
SHOOTDOWNS = ("--shootdowns", "5000", "-q")

# One vCPU that stays in its guest, which is this script, and a zapper that shoots one page down.
KICKED = """
import os, signal, sys, threading, time
from kernels.language.llvm import KICK_SIGNAL
from kernels.race.lines import load_one
from kernels.race.straight import BARE
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.rules import KickBy
from kernels.tdx.bits import Mode
from kernels.tdx.words import ipi, mode, plan, zapper_actor
from kernels.tests.orders import SPEC
from stress.processes.kicks import told_to
from stress.processes.shared_words import shared_words

lay = plan(1, 1, 1, 1)
words = shared_words(lay.total_words)
rules = SPEC._replace(shootdowns=1, kick_by=int(KickBy[sys.argv[1]]))
SHOOTDOWN.prepare(words, lay, rules, 1)
words[mode(lay, 0)] = Mode.IN_GUEST_MODE
seen = []

def acknowledge(*_):
    seen.append(int(words[ipi(lay, 0)]))
    words[ipi(lay, 0)] = 0

signal.signal(KICK_SIGNAL, acknowledge)
told_to(words, lay, 0)
arguments = words, lay, rules, zapper_actor(lay, 0)
zapper = threading.Thread(target=load_one(SHOOTDOWN, "zapper", BARE), args=arguments, daemon=True)
zapper.start()
until = time.monotonic() + float(sys.argv[2])
while zapper.is_alive() and time.monotonic() < until:
    time.sleep(0.001)
print(seen, zapper.is_alive())
words[ipi(lay, 0)] = 0
zapper.join()
"""


def kicked(way: str, seconds: float) -> str:
    return f"import sys\nsys.argv = ['', '{way}', '{seconds}']\n{KICKED}"


def test_a_signal_interrupts_the_vcpu_once_and_finds_the_kicks_own_word_there(script: Script) -> None:
    assert script(kicked("SIGNAL", 60)) == "[1] False\n"


@pytest.mark.parametrize("way", ["WORD", "MEMBARRIER"])
def test_nothing_else_sends_a_signal(script: Script, way: str) -> None:
    assert script(kicked(way, 0.5)) == "[] True\n"


def test_a_race_whose_kick_is_refused_ends_as_crashed_and_says_so(script: Script) -> None:
    said = script(REFUSING + f"refuse(MEMBARRIER_GLOBAL)\nrace('--set', 'kick_by=membarrier', *{SHOOTDOWNS})\n")

    assert "exit code 72: the kernel has refused the system call of its kick" in " ".join(said.split())
    assert "exit code 3\n" in said


def test_a_kick_by_word_calls_no_membarrier(script: Script) -> None:
    said = script(REFUSING + f"refuse(MEMBARRIER_GLOBAL)\nrace(*{SHOOTDOWNS})\n")

    assert "exit code 72" not in said
    assert "exit code 3\n" not in said


def test_a_vcpu_that_cannot_register_ends_the_race_before_its_start(script: Script) -> None:
    refused = "refuse(MEMBARRIER_REGISTER_GLOBAL)\nrace('--set', 'kick_by=membarrier', *{})\n"

    said = script(REFUSING + refused.format(SHOOTDOWNS))

    assert "PermissionError: [Errno 1] membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)" in said
    assert "exit code 3\n" in said


def test_a_kernel_without_membarrier_skips_the_race_in_one_line(script: Script) -> None:
    said = script(REFUSING + "refuse(MEMBARRIER_QUERY)\nrace('--set', 'kick_by=membarrier')\n")

    assert said == (
        'exit code 4\ntdx-stress: kick_by: this kernel has no "membarrier": membarrier(2) is refused: Operation not '
        'permitted; "word" and "signal" are to be had\n'
    )


@pytest.mark.parametrize("way", ["membarrier", "signal"])
@pytest.mark.parametrize("workers", ["process", "thread"])
def test_a_short_race_holds_however_it_kicks_and_says_how(script: Script, way: str, workers: str) -> None:
    said = script(REFUSING + f"race('--shootdowns', '200', '--set', 'kick_by={way}', '--workers', '{workers}')\n")

    assert f"; kick by {way}" in said
    assert "Observation spec Never 0 " in said
    assert "exit code 3" not in said
