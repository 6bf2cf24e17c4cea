"""What the fixtures of the command line are: `tdx_stress` and `behind`, `start_tdx_stress`, and `script`."""

import subprocess
from collections.abc import Callable

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Script = Callable[[str], str]
