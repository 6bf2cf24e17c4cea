import os
import signal
import sys
from pathlib import Path

import pytest

from stress.interrupts import Interrupts
from stress.tests.command import Command

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AMID = """
import stress.__main__ as command

def interrupted(arguments):
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        return 130

command._run = interrupted
command.main()
"""

MADE_ANOTHER = """
import os, signal, stress.cli

def app(*arguments, **named):
    try:
        os.kill(os.getpid(), signal.SIGHUP)
    except KeyboardInterrupt:
        {instead}

stress.cli.app = app
"""
AMID_A_VERB = """
import os, signal
import stress.explore.verb as verb

def interrupts(*arguments, **named):
    os.kill(os.getpid(), signal.SIGHUP)

verb.{moment} = interrupts
"""
# Interrupts the program where it imports a module for the first time behind these, which Python itself starts with.
AT_ITS_FIRST_IMPORT = """
import builtins, contextlib, enum, os, runpy, signal, sys

own, started = builtins.__import__, {*sys.modules, "errno", "gc", "signal", "stress", "stress.errors", "types"}

def imports(name, *more, **named):
    if name not in started and not name.startswith("_"):
        builtins.__import__ = own
        print(name, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
    return own(name, *more, **named)

builtins.__import__ = imports
sys.argv = ["tdx-stress", "list"]
runpy.run_module("stress", run_name="__main__", alter_sys=True)
"""


def test_signals_are_counted_and_afterwards_ignored() -> None:
    with Interrupts() as interrupts:
        before = bool(interrupts)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)

    assert (before, interrupts.received) == (False, 2)
    assert {signal.getsignal(number) for number in STOPPING} == {signal.SIG_IGN}


def test_without_an_interrupt_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOPPING]

    with Interrupts():
        pass

    assert [signal.getsignal(number) for number in STOPPING] == before


def test_what_asks_nobody_is_ended_at_once_and_the_next_signal_is_counted() -> None:
    reached = []
    with Interrupts() as interrupts:
        with interrupts.at_once():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("behind it")
        os.kill(os.getpid(), signal.SIGINT)

    assert (reached, interrupts.received) == ([], 2)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGHUP)

    assert interrupts.received == 0


def test_an_interrupt_that_python_drops_in_a_destructor_comes_again_and_only_the_program_speaks(
    python: Command,
) -> None:
    """The file is left open as well, and every warning is an error: both would print a traceback."""
    code = """
import os, signal, time
from stress.__main__ import _interrupted

class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, _interrupted)
probe = open(os.devnull)
try:
    Dropped()
    time.sleep(60)
except KeyboardInterrupt:
    del probe
    print("interrupted")
"""
    done = python("-c", code)

    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_the_second_interrupt_ends_the_program_at_once(python: Command) -> None:
    code = """
import os, signal
from stress.__main__ import _interrupted

signal.signal(signal.SIGINT, _interrupted)
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = python("-c", code)

    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_an_interrupt_amid_code_in_a_string_ends_in_the_exit_code_too(tmp_path: Path, python: Command) -> None:
    (tmp_path / "amid.py").write_text(AMID)

    assert python("-m", "amid").returncode == 130


def test_ctrl_c_while_the_first_large_module_is_imported_is_one_line(new: Command) -> None:
    done = new(sys.executable, "-c", AT_ITS_FIRST_IMPORT)

    assert done.stdout == "logging\n"
    assert (done.returncode, done.stderr) == (130, "tdx-stress: interrupted, nothing was measured\n")


AS_C_DOES = "import sys; sys.excepthook(*sys.exc_info()); raise ImportError('numpy.core.multiarray failed to import')"


@pytest.mark.parametrize("instead", ["raise RuntimeError('Query interrupted')", "return 0", AS_C_DOES])
def test_an_interrupt_that_a_library_has_made_something_else_of_is_one(instead: str, behind: Command) -> None:
    done = behind(MADE_ANOTHER.format(instead=instead), "list")

    assert (done.returncode, done.stderr) == (130, "tdx-stress: interrupted, nothing was measured\n")


@pytest.mark.parametrize(
    "moment", ["get_ready", "_search_all"], ids=["before interrupts are counted", "while they are"]
)
def test_who_interrupts_a_verb_that_has_nothing_yet_is_told_so(moment: str, behind: Command) -> None:
    """Through the whole command line: typer makes an exit code of a KeyboardInterrupt."""
    done = behind(AMID_A_VERB.format(moment=moment), "explore", "--ordering", "spec", "-q", "--out", "out")

    assert (done.returncode, done.stderr) == (130, "tdx-stress: interrupted, nothing was measured\n")
