"""What fixtures of commands are: `tdx_stress`, `behind`, `python` and `new`; `start_tdx_stress`; and `script`."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Script = Callable[[str], str]


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON on stdout; fails with whatever was said on stderr where there is none."""
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
