"""Where a result comes from: the program's version, and the commit where it runs from a checkout of its own."""

import subprocess
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version() -> str:
    """The installed version, or "unknown" where only the sources are there."""
    try:
        return installed_version("tdx-stress")
    except PackageNotFoundError:
        return "unknown"


def commit() -> str | None:
    """The commit of the checkout that this file is in, with "+changes" where files differ from it; None elsewhere."""
    if not (ROOT / ".git").exists():
        return None
    head = _git("rev-parse", "HEAD")
    return head and head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
