"""An installation beside packages and files of others that are called as our rooms are."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("stress", "kernels", "scenarios", "results")
LEFT_OUT = {"tests", "__pycache__", "reference", "README.md", "build_hook.py", "installed"}
ADDED = {Path(name) for name in ("__init__.py", "__main__.py", "stress/COMMIT")}
FOREIGN = "raise RuntimeError('of somebody else')\n"


def ran(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What the command prints; it must end well."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[Path]:
    """What is shipped of it, by path within its parent."""
    found = (path.relative_to(folder.parent) for path in folder.rglob("*") if path.is_file())
    return {path for path in found if LEFT_OUT.isdisjoint(path.parts)}


def test_an_installation_owns_one_name_and_runs_beside_foreign_packages_called_as_its_rooms(
    tmp_path: Path, command_environment: dict[str, str]
) -> None:
    environment = {name: value for name, value in command_environment.items() if name != "PYTHONPATH"}
    venv.create(tmp_path / "venv", symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "wheels")
    ran(*build, cwd=ROOT, **command_environment)
    pip = (sys.executable, "-m", "pip", "--python", tmp_path / "venv/bin/python", "--disable-pip-version-check")
    alone = ("-q", "--no-compile", "--no-index", "--no-deps")
    ran(*pip, "install", *alone, *(tmp_path / "wheels").iterdir(), cwd=tmp_path, **environment)
    owned = {path.name.partition("-")[0] for path in site.iterdir()}
    installed = {path.relative_to("tdx_stress") for path in files(site / "tdx_stress")}
    for name in ("kernels", "results"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(FOREIGN)
        (tmp_path / f"{name}.py").write_text(FOREIGN)
    (tmp_path / "results").mkdir()
    # Directories named in a .pth file have none of their own: of this checkout nothing is seen but what is installed.
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))

    command = tmp_path / "venv/bin/tdx-stress"
    as_module = (tmp_path / "venv/bin/python", "-m", "tdx_stress")
    versions = [ran(*start, "--version", cwd=tmp_path, **environment) for start in ((command,), as_module)]
    explored = ran(command, "explore", "--ordering", "spec", "-q", "--out", "out", cwd=tmp_path, **environment)

    assert owned == {"tdx_stress"}
    assert installed - ADDED == set().union(*(files(ROOT / room) for room in ROOMS))
    assert versions == ["tdx-stress 0.1.0\n"] * 2
    assert explored.startswith("Observation spec Never 0 ")
