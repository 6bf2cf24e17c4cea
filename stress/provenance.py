"""Where a result comes from: the version, and the commit of the checkout that runs or was installed."""

import subprocess
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Beside this file in a wheel; `stress/build_hook.py` puts it there.
COMMIT = "COMMIT"


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
    head = _git("rev-parse", "HEAD")
    return head and head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def in_checkout() -> bool:
    """Whether this file is in a checkout of its own."""
    return (ROOT / ".git").exists()


def _kept() -> str | None:
    try:
        return (HERE / COMMIT).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
