"""The command `tdx-stress`, also `python -m stress`: runs a verb, and turns whatever goes wrong into one line."""

# No more than what is loaded anyway, or nearly: until main has come to its first line Ctrl-C is Python's own.
import contextlib
import errno
import gc
import os
import signal
import sys
from types import FrameType

from stress.errors import NOTHING_MEASURED, STOPPING_SIGNALS, CannotRunHere, HarnessFault, Interrupted, UsageFault

# Libraries that start threads at their import would do so before the fork.
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """Run the command line and exit with its code. Only an internal error has a traceback, and only with `-v`."""
    try:
        _heed_signals()
        for name in ONE_THREAD:
            os.environ[name] = "1"
        gc.set_threshold(100_000)  # imports make objects that stay: looking through them was a tenth of a start
        _open_missing_streams()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        if not sys.warnoptions:
            import logging
            import warnings

            # What a library warns of names its own files, and is nothing that a user could mend.
            warnings.simplefilter("ignore")
            logging.lastResort = None
        code = _run(sys.argv[1:])
        for number in STOPPING_SIGNALS:  # nothing is left to be interrupted
            signal.signal(number, signal.SIG_IGN)
    except KeyboardInterrupt:
        code = _failed(NOTHING_MEASURED, Interrupted.exit_code)
    except MemoryError:  # while another error was told
        os.write(2, b"tdx-stress: no more memory is to be had; raise the limit, or try a smaller machine\n")
        os._exit(CannotRunHere.exit_code)
    # `python -m` ends by SIGINT instead where a KeyboardInterrupt has passed code in a string, as a dataclass's is, and
    # none has run since.
    with contextlib.suppress(MemoryError):
        exec("")
    sys.exit(code)


def _heed_signals() -> None:
    """First of all."""
    for number in STOPPING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in the background, or under nohup
            signal.signal(number, _interrupted)


def _open_missing_streams() -> None:
    """Where a standard stream was closed (`>&-`), let it go nowhere: else the next file opened would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """The end, in one line: what is dropped half made on the way to it has none of its own. The next one ends at once.

    Python drops what is raised in a destructor or a callback: there the interrupt comes again a little later. A library
    in C whose imports fail prints what was raised there, and raises an error of its own.
    """

    def dropped(found: "sys.UnraisableHookArgs") -> None:
        if isinstance(found.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    import warnings

    sys.unraisablehook = dropped
    sys.excepthook = lambda *raised: None
    warnings.simplefilter("ignore", ResourceWarning)
    signal.signal(signal.SIGALRM, _interrupted)
    for stopping in STOPPING_SIGNALS:
        signal.signal(stopping, signal.SIG_DFL)
    raise KeyboardInterrupt


def _heed_interrupt() -> None:
    """Raise KeyboardInterrupt again, where a library has made an error, or an exit code, of its own of one."""
    if signal.getsignal(signal.SIGALRM) is _interrupted:
        raise KeyboardInterrupt from None


def _with_values(arguments: list[str]) -> list[str]:
    """`--json` without a file is `--json -`: a word behind it that is no path and no name of JSON is another's."""
    following = (*arguments[1:], "")
    return [
        f"{one}=-" if one == "--json" and not (then == "-" or "/" in then or then.endswith(".json")) else one
        for one, then in zip(arguments, following, strict=False)
    ]


def _taken_for_another(arguments: list[str], line: str) -> str:
    """A hint where the word behind `--json` was taken for an argument, and is none."""
    words = arguments[arguments.index("--json") + 1 :] if "--json" in arguments else []
    behind = [word for word in words[:1] if f'"{word}"' in line]
    return f"; a file behind --json has / or .json in its name: ./{behind[0]}" if behind else ""


def _run(arguments: list[str]) -> int:
    try:
        from stress.processes.limits import check_address_space

        check_address_space(arguments)
        from stress.cli import app

        code = app(_with_values(arguments), prog_name="tdx-stress", standalone_mode=False) or 0
        _heed_interrupt()
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit) as error:
        # typer leaves with 1 where the reader has gone, which is no error.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _silence_stdout()
        return 0
    except Exception as error:
        _heed_interrupt()
        line, code = explained(error)
        if code == UsageFault.exit_code:
            line += _taken_for_another(arguments, line)
        if line.startswith("internal error") and {"-v", "--verbose"} & set(arguments):
            import traceback

            traceback.print_exc()
        return _failed(line, code)


def explained(error: Exception) -> tuple[str, int]:
    """An error as one line for the user, and the exit code that it means."""
    if hasattr(error, "format_message"):  # typer's, whose classes have moved between modules
        verb = getattr(getattr(error, "ctx", None), "command_path", "tdx-stress")
        return f"{error.format_message().rstrip('.')}; see `{verb} --help`", UsageFault.exit_code
    if (code := getattr(error, "exit_code", None)) is not None:
        return str(error), code
    from stress.processes.limits import limit_met

    if (met := limit_met(error)) is not None:
        return met, CannotRunHere.exit_code
    if isinstance(error, OSError) and error.filename is None and error.errno in OUTPUT_ERRORS:
        _silence_stdout()
        return f"stdout: cannot write: {error.strerror}", HarnessFault.exit_code
    return f"internal error: {type(error).__name__}: {error} (-v shows where)", HarnessFault.exit_code


def _failed(line: str, code: int) -> int:
    from scenarios.wording import printable

    with contextlib.suppress(OSError):
        print("tdx-stress:", printable(" ".join(line.split())), file=sys.stderr, flush=True)
    return code


def _silence_stdout() -> None:
    """The reader is gone: what is left in the buffer goes nowhere, or Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
