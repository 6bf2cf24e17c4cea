"""What fixtures of commands are: `tdx_stress`, `behind`, `python` and `new`; `start_tdx_stress`; and `script`."""

import subprocess
from collections.abc import Callable

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Script = Callable[[str], str]
