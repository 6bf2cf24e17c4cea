"""Inputs: files of every kind and words of the command line, damaged at random, and the verbs that read them."""

import contextlib
import copy
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernels.language import cache
from scenarios.files import HERE, shipped_names
from stress.tests.storm_command import Ended, Place, run
from stress.tests.storm_kills import FINISHED, said_wrong

ODD: tuple[Any, ...] = (
    None, -1, 0, 1e308, 10**30, 2**63, True, "", "x\x1b[31m\x07", "\u202e", [], {}, [[]], {"a": 1}, "9" * 400, 0.5,
)  # fmt: skip
TOKENS = ("-1", "1e999", '"\\u001b[2J"', "[]", "{}", "true", "nan", "9" * 400, '"spec"', "[1, 2]", "[[", "'", "0x7f")
SMALL = ("--vcpus", "1", "--zappers", "1", "-q", "--memory", "64MiB", "--out", "out")
SHORT = ("--duration", "50ms", "--warmup", "0s", "--no-report", "-q", "--out", "out")
MOST_BYTES = 6 << 30
ENOUGH_S = 90.0


def _enough(pid: int) -> None:
    """Ctrl-C once it has had its time: a damaged bench may ask for thousands of rounds, which is no hang."""
    end = os.pidfd_open(pid)
    with contextlib.suppress(ProcessLookupError):
        if not select.select([end], [], [], ENOUGH_S)[0]:
            os.kill(pid, signal.SIGINT)
    os.close(end)


class Inputs:
    """Draws one after the other."""

    def __init__(self, chance: random.Random, material: tuple[Path, str] | None) -> None:
        """`material` as of `Kills`; without it only what is shipped, kept or typed is damaged."""
        self._chance = chance
        self._material, self._witness = material or (Path(), "")
        self._kinds: dict[str, tuple[Callable[[Place], list[str] | None], int]] = {
            "ordering": (self._ordering, 4), "scenario": (self._scenario, 3), "result": (self._result, 4),
            "arrays": (self._arrays, 2), "bench": (self._bench, 4), "witness": (self._of_witness, 4),
            "pieces": (self._pieces, 3), "cache": (self._cache, 3), "words": (self._words, 3),
        }  # fmt: skip
        if material is None:
            self._kinds = {kind: self._kinds[kind] for kind in ("ordering", "scenario", "cache")}

    def one(self, place: Place) -> tuple[str, list[str], Ended]:
        """A try: its kind, what was wrong, how it ended."""
        kinds, weights = list(self._kinds), [weight for _, weight in self._kinds.values()]
        kind = self._chance.choices(kinds, weights)[0]
        arguments = self._kinds[kind][0](place)
        if arguments is None:
            return f"input: {kind}", [], Ended((), 0, "", "", ())
        if isinstance(arguments, str):
            return f"input: {kind}", [arguments], Ended((), 0, "", "", ())
        ended = run(place, arguments, _enough, limits={resource.RLIMIT_AS: MOST_BYTES})
        return f"input: {kind}", self._wrong(ended), ended

    def _wrong(self, ended: Ended) -> list[str]:
        found = said_wrong(ended)
        if ended.code is None:
            return [*found, "hang"]
        if ended.code not in FINISHED | {2, 4, 130} | ({3} if "/dev/full" in ended.arguments else set()):
            found.append(f"exit code {ended.code}")
        if ended.code in (2, 4) and len(ended.stderr.splitlines()) != 1 and "history" not in ended.arguments:
            found.append(f"{len(ended.stderr.splitlines())} lines of an error")
        return found

    def _ordering(self, place: Place) -> list[str]:
        self._toml(
            HERE / "orderings" / f"{self._chance.choice(shipped_names('orderings'))}.toml", place.path / "o.toml"
        )
        run_it = self._chance.random() < 0.1
        return ["run", "--ordering", "o.toml", *SHORT] if run_it else ["explore", "--ordering", "o.toml", *SMALL]

    def _scenario(self, place: Place) -> list[str]:
        self._toml(
            HERE / f"{self._chance.choice(('small', 'review', 'batch', 'yardstick'))}.toml", place.path / "s.toml"
        )
        how = self._chance.random()
        if how < 0.5:
            return ["list", "--labels", "s.toml"]
        return ["explore", "s.toml", "--ordering", "spec", *SMALL] if how < 0.9 else ["run", "s.toml", *SHORT]

    def _result(self, place: Place) -> list[str]:
        shutil.copytree(self._material / "run", place.path / "r")
        self._json(place.path / "r/result.json")
        verbs = (["report", "r", "-q"], ["compare", "r", "r"], ["history", "r"], ["history", "."])
        return list(self._chance.choice(verbs))

    def _arrays(self, place: Place) -> list[str]:
        shutil.copytree(self._material / "run", place.path / "r")
        path = place.path / "r/raw.npz"
        if self._chance.random() < 0.05:
            _bomb(path)
        elif self._chance.random() < 0.5:
            self._member(path)
        else:
            self._bytes(path)
        return ["report", "r", "-q"]

    def _bench(self, place: Place) -> list[str]:
        shutil.copytree(self._material / "bench", place.path / "b")
        if self._chance.random() < 0.25:
            self._bytes(place.path / "b/rounds/0003.npz")
            return [["report", "b", "-q"], ["bench", "--resume", "b", "--rounds", "11", "-q"]][
                self._chance.random() < 0.5
            ]
        self._json(place.path / "b/bench.json")
        verbs = (["compare", "b", "b"], ["history", "b"], ["report", "b", "-q"], ["bench", "--resume", "b", "-q"])
        return list(self._chance.choices(verbs, (4, 3, 1, 2))[0])

    def _pieces(self, place: Place) -> list[str]:
        shutil.copytree(self._material / "first", place.path / "a")
        self._json(self._chance.choice(sorted((place.path / "a/pieces").glob("*.json"))))
        whole = ["faults", "--resume", "a", "-q"]
        return self._chance.choice((["merge", "a", str(self._material / "second"), "-q", "--out", "out"], whole))

    def _of_witness(self, place: Place) -> list[str]:
        shutil.copy(self._material / "explored" / self._witness, place.path / "w.json")
        self._json(place.path / "w.json")
        more = self._chance.choice(([], ["-q"], ["-v"], ["--until", "3"], ["--pair", "a", "b", "c"]))
        return ["replay", "w.json", *more]

    def _cache(self, place: Place) -> Any:
        """Read in this process: what is damaged must be nothing. Compiling anew is the matter of kernels' tests."""
        ours = cache.cache_directory()
        files = sorted(ours.glob("*.code")) if ours else []
        if not files or ours is None:
            return "no cache"
        file = self._chance.choice(files)
        before = os.environ.get("TDX_STRESS_CACHE")
        os.environ["TDX_STRESS_CACHE"] = str(place.path / "cache")
        try:
            mine = place.path / "cache" / ours.name
            mine.mkdir(parents=True, mode=0o700)
            shutil.copy2(file, mine / file.name)
            whole = file.read_bytes()
            self._bytes(mine / file.name)
            changed = not (mine / file.name).is_file() or (mine / file.name).read_bytes() != whole
            read = cache.read(file.name.removesuffix(".code"))
            return "damaged code is used" if changed and read is not None else None
        finally:
            os.environ.pop("TDX_STRESS_CACHE")
            if before is not None:
                os.environ["TDX_STRESS_CACHE"] = before

    def _words(self, place: Place) -> list[str]:
        word = self._chance.choice(
            ("--set", "--delay", "--cpus", "--vcpus", "--rate", "--seed", "--fault", "--ordering", "--for", "--json")
        )
        key = self._chance.choice(("pages=", "gate=", "kick.wait=", "yields.x=", "expect=", "", "on_error=", "x"))
        value = self._chance.choice((*TOKENS, "a\x1b[31mb", "1" * 5000, "/dev/full", "..", "\udc80"))
        return ["run", "--ordering", "spec", word, (key if word in ("--set", "--delay") else "") + value, *SHORT]

    def _toml(self, source: Path, target: Path) -> None:
        lines = source.read_text().splitlines()
        for _ in range(self._chance.randint(1, 3)):
            at = self._chance.randrange(len(lines))
            how = self._chance.randrange(4)
            if how == 0 and len(lines) > 1:
                del lines[at]
            elif how == 1:
                lines.insert(at, lines[self._chance.randrange(len(lines))])
            elif how == 2:
                lines[at] = lines[at].partition("=")[0] + "= " + self._chance.choice(TOKENS)
            else:
                lines[at] = f"{self._chance.choice(('faults', 'entry', 'flow', 'zap'))} = {self._chance.choice(TOKENS)}"
        target.write_text("\n".join(lines) + "\n")
        if self._chance.random() < 0.2:
            self._bytes(target)

    def _json(self, path: Path) -> None:
        if self._chance.random() < 0.25:
            return self._bytes(path)
        value = json.loads(path.read_text())
        for _ in range(self._chance.randint(1, 2)):
            holder: Any = value
            while True:
                keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
                if not keys:
                    break
                key = self._chance.choice(keys)
                inner = holder[key]
                if isinstance(inner, dict | list) and inner and self._chance.random() < 0.8:
                    holder = inner
                    continue
                how = self._chance.randrange(4)
                odd = copy.deepcopy(self._chance.choice(ODD))  # what is put in may be the next that is changed
                if how == 0 or isinstance(holder, list):
                    holder[key] = odd
                elif how == 1:
                    del holder[key]
                elif how == 2:
                    holder[f"{key}\x1b[2J"] = holder.pop(key)
                else:
                    holder[key] = -inner if isinstance(inner, int | float) else odd
                break
        path.write_text(json.dumps(value))
        return None

    def _member(self, path: Path) -> None:
        """One array of an archive damaged, with a sum that fits."""
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = self._chance.choice(list(members))
        content = bytearray(members[name])
        content[self._chance.randrange(min(len(content), 128))] ^= 1 << self._chance.randrange(8)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for one, held in members.items():
                archive.writestr(one, bytes(content) if one == name else held)

    def _bytes(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        at = self._chance.randrange(max(len(content), 1))
        how = self._chance.random()
        if how < 0.3:
            content[at : at + 1] = bytes([self._chance.randrange(256)])
        elif how < 0.55:
            del content[at:]
        elif how < 0.7:
            content[at:at] = content[at // 2 : at]
        elif how < 0.85:
            content[at:at] = self._chance.choice((b"\x1b[2J", b"\0" * 50, b"\xff\xfe", b"[" * 50_000, b"9" * 5_000))
        else:
            path.unlink()
            which = self._chance.choices(("zero", "loop", "directory", "empty", "gone", "pipe"), (3, 3, 3, 3, 3, 1))[0]
            if which in ("zero", "loop"):
                path.symlink_to("/dev/zero" if which == "zero" else path.name)
            elif which == "directory":
                path.mkdir()
            elif which == "empty":
                path.touch()
            elif which == "pipe":
                os.mkfifo(path)
            return
        path.write_bytes(content)


def _bomb(path: Path) -> None:
    """Two megabytes that unpack to two gigabytes."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as file,
    ):
        chunk = bytes(64 << 20)
        for _ in range(3):
            file.write(chunk)
    content = made.getvalue()
    # The directory says two gigabytes; what is there would do no less harm than it says.
    size = (192 << 20).to_bytes(4, "little")
    path.write_bytes(content.replace(size, (2 << 30).to_bytes(4, "little")))
