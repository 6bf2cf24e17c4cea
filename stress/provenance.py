"""Where a result comes from: the version, the commit of the checkout that runs or was installed, and the machine."""

import hashlib
import os
import re
import secrets
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Beside this file in a wheel; `stress/build_hook.py` puts it there.
COMMIT = "COMMIT"
GIT_TRIES = 3


def version() -> str:
    """The installed version, or "unknown" where only the sources are there."""
    try:
        return installed_version("tdx-stress")
    except PackageNotFoundError:
        return "unknown"


def commit() -> str | None:
    """The commit of the checkout that this file is in, or that the installed copy was built from, with "+changes" where
    files differ from it; None where nobody knows."""
    if not in_checkout():
        return _kept()
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return None if not head or changes is None else head + ("+changes" if changes else "")


def in_checkout() -> bool:
    """Whether this file is in a checkout of its own."""
    return (ROOT / ".git").exists()


def _kept() -> str | None:
    try:
        return (HERE / COMMIT).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says; None where it does not. One that was killed is asked again."""
    words = ["git", "-C", str(ROOT), *arguments]
    for _ in range(GIT_TRIES):
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode >= 0:
            return done.stdout.strip() if done.returncode == 0 else None
    return None


@cache
def machine_id() -> str:
    """Of this machine, random, kept beside the compiled code; of this process alone where nothing can be kept."""
    from kernels.language.cache import cache_directory

    made = secrets.token_hex(4)
    place = cache_directory()
    if place is None:
        return made
    # A home may be many machines'.
    known = [Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")]
    told = next((text for path in known if path.exists() and (text := path.read_text().strip())), "")
    path = place.parent / f"machine-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    try:
        if not path.exists():
            temporary = path.with_name(f".{path.name}.{made}")
            try:
                temporary.write_text(made)
                os.link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
    except FileExistsError:
        pass
    except OSError:
        return made
    kept = path.read_text()
    return kept if re.fullmatch("[0-9a-f]{8,16}", kept) else made


def command() -> list[str]:
    """What was typed, as words of UTF-8: a byte that is none stands escaped."""
    return [os.fsencode(word).decode(errors="backslashreplace") for word in ("tdx-stress", *sys.argv[1:])]


def utc(before_s: float = 0.0) -> str:
    """The time in UTC, or what it was so many seconds before."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - before_s))
