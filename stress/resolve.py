"""What was asked for on the command line, and what it comes to: a scenario, its orderings, where to leave results."""

import os
import tempfile
from pathlib import Path

from scenarios.loader import apply_settings, load_orderings, load_scenario, with_delays, with_faults, with_options
from scenarios.models import Ordering, Scenario
from stress.errors import UsageFault
from stress.options import BenchRequest, RunRequest
from stress.unread import check_read, chosen_keys

STDOUT = "-"
# Keys of a scenario with an option each, where the verb has it.
RACED = (
    *("vcpus", "zappers", "pages", "duration_s", "shootdowns", "warmup_s"),
    *("rate", "seed", "workers", "placement"),
)


def resolve(request: RunRequest | BenchRequest) -> tuple[Scenario, list[Ordering]]:
    """The scenario with every option applied, and the orderings to race, in turn. Raises ScenarioError."""
    scenario = load_scenario(request.scenario)
    orderings = load_orderings(request.orderings or scenario.orderings)
    scenario, orderings = apply_settings(scenario, orderings, request.settings)
    scenario = with_delays(scenario, getattr(request, "delays", ()))
    typed = {key: getattr(request, key.removesuffix("_s"), None) for key in RACED}
    scenario = with_options(scenario, **typed)
    orderings = with_faults(orderings, getattr(request, "faults", ()))
    check_read(scenario, orderings, chosen_keys(request.scenario, request.settings))
    return scenario, orderings


def check_files(json: str | None, junit: Path | None, ktap: str | None = None) -> None:
    """Before anything runs: that `--json`, `--junit` and `--ktap` can be written. Raises UsageFault."""
    if json == ktap == STDOUT:
        raise UsageFault("--ktap: expected a file beside `--json -`, found -: only one of them can have stdout")
    named = [("--json", named_file(json)), ("--junit", junit), ("--ktap", named_file(ktap))]
    for option, path in named:
        if path is not None:
            check_writable(option, path)


def named_file(typed: str | None) -> Path | None:
    """The file that an option FILE|- names; None where it was not typed, or is stdout."""
    return None if typed in (None, STDOUT) else Path(str(typed))


def check_writable(option: str, path: Path) -> None:
    """That this option's file can be written, before any work. Raises UsageFault."""
    try:
        if path.is_dir():
            raise UsageFault(f"{option}: expected a file, found the directory {path}")
        if path.exists() and not path.is_file():
            return  # a pipe or a device: asking would already write
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise UsageFault(f"{option}: {path}: cannot write: permission denied")
    except (OSError, ValueError) as error:
        raise UsageFault(f"{option}: {path}: cannot write: {getattr(error, 'strerror', None) or error}") from None
