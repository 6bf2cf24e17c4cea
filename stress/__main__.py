"""The command `tdx-stress`, also `python -m stress`: runs a verb, and turns whatever goes wrong into one line."""

import gc
import os
import signal
import sys
import warnings
from types import FrameType

# Libraries that start threads at their import would do so before the fork.
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")
USAGE, HARNESS, INTERRUPTED = 2, 3, 130


def main() -> None:
    """Run the command line and exit with its code. Only an internal error has a traceback, and only with `-v`."""
    for name in ONE_THREAD:
        os.environ[name] = "1"
    gc.set_threshold(100_000)  # imports make objects that stay: looking through them was a tenth of a start
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(_run(sys.argv[1:]))


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

    Python drops what is raised in a destructor or a callback: there the interrupt comes again a little later.
    """

    def dropped(found: "sys.UnraisableHookArgs") -> None:
        if isinstance(found.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    sys.unraisablehook = dropped
    warnings.simplefilter("ignore", ResourceWarning)
    signal.signal(signal.SIGALRM, _interrupted)
    for stopping in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stopping, signal.SIG_DFL)
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> int:
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupted)
        signal.signal(signal.SIGTERM, _interrupted)
        from stress.cli import app

        code = app(arguments, prog_name="tdx-stress", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _failed("interrupted, nothing was measured", INTERRUPTED)
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except Exception as error:
        line, code = explained(error)
        if line.startswith("internal error") and {"-v", "--verbose"} & set(arguments):
            import traceback

            traceback.print_exc()
        return _failed(line, code)


def explained(error: Exception) -> tuple[str, int]:
    """An error as one line for the user, and the exit code that it means."""
    from scenarios.wording import ScenarioError
    from stress.errors import CannotRunHere, HarnessFault, UsageFault

    if hasattr(error, "format_message"):  # typer's, whose classes have moved between modules
        return f"{error.format_message().rstrip('.')}; see `tdx-stress --help`", USAGE
    if isinstance(error, ScenarioError):
        return str(error), USAGE
    if isinstance(error, UsageFault | HarnessFault | CannotRunHere):
        return str(error), error.exit_code
    if "results.gate" in sys.modules and isinstance(error, sys.modules["results.gate"].GateError):
        return str(error), USAGE
    if "results.store" in sys.modules and isinstance(error, sys.modules["results.store"].StoreError):
        return str(error), HARNESS
    return f"internal error: {type(error).__name__}: {error} (-v shows where)", HARNESS


def _failed(line: str, code: int) -> int:
    try:
        print("tdx-stress:", " ".join(line.split()), file=sys.stderr, flush=True)
    except OSError:
        return code
    return code


def _silence_stdout() -> None:
    """The reader is gone: what is left in the buffer goes nowhere, or Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
