"""Which module of the model's is like that of the machine at hand: `module = "host"`.

Sources: kvm_intel's parameter says whether KVM runs TDs here; the version of the loaded module is "major.minor.update"
in drivers/virt/coco/tdx-host of newer kernels.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BeforeValidator, ValidationInfo

from kernels.tdx.rules import Flow, Module, has_part
from scenarios.wording import problem

ENABLED, VERSION = "sys/module/kvm_intel/parameters/tdx", "sys/devices/faux/tdx_host/version"
NEWER = (1, 5, 24)  # from here on its 0-step filter is another


class TdxHost(NamedTuple):
    """Whether this is one; the version, and the word for it, where it is told."""

    enabled: bool
    version: str | None
    module: str | None


def tdx_host(root: Path = Path("/")) -> TdxHost:
    """What /sys tells."""
    told = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", _text(root / VERSION))
    if _text(root / ENABLED) not in ("Y", "1") or told is None:
        return TdxHost(_text(root / ENABLED) in ("Y", "1"), None, None)
    newer = tuple(map(int, told.groups())) >= NEWER
    return TdxHost(True, told[0], (Module.TDX_1_5_24 if newer else Module.TDX).name.lower())


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def of_the_host(word: Any, info: ValidationInfo) -> Any:
    """`host` becomes the word that it stands for; where modules do not differ that is `tdx`."""
    if word != "host":
        return word
    found = tdx_host()
    if found.module is None:
        what = "none here" if not found.enabled else "one whose kernel tells no module's version"
        raise problem(f'expected a TDX host for "host", found {what} (`tdx-stress doctor`); "tdx" is 1.5.01')
    return found.module if has_part(info.data.get("flow", ""), Flow.ZERO_STEP) else "tdx"


OfTheHost = BeforeValidator(of_the_host)
