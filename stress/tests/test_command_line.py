import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from stress.__main__ import explained
from stress.cli import app
from stress.errors import CannotRunHere, HarnessFault, UsageFault
from stress.tests.command import Command
from stress.tests.test_report_verb import MADE

SHORT = ("--shootdowns", "100", "--warmup", "0s", "--no-report")
HEAVY = ("numba", "numpy", "scipy", "matplotlib", "pydantic", "rich", "multiprocess", "psutil")


def test_help_names_the_verbs_and_the_exit_codes(here: Command) -> None:
    done = here("--help")

    assert (done.returncode, done.stderr) == (0, "")
    verbs = "run bench compare report history explore list replay doctor orders faults amplify"
    assert all(
        f"  {text} " in done.stdout for text in (*verbs.split(), *["0", "1", "2", "3", "4", "5", "6", "7", "130"])
    )


@pytest.mark.parametrize("arguments", ["--help", "list", "list --json"])
def test_a_reader_that_has_gone_is_no_error(arguments: str, behind: Command) -> None:
    nobody = "import os\nreading, writing = os.pipe()\nos.close(reading)\nos.dup2(writing, 1)"
    done = behind(nobody, *arguments.split())

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["", *(one.name or "" for one in app.registered_commands)])
def test_a_terminal_of_80_columns_holds_every_help(here: Command, verb: str) -> None:
    _, *lines = here(*verb.split(), "--help").stdout.splitlines()

    assert len(lines) > 10
    assert [line for line in lines if len(line) > 80 or (not verb and line.endswith("..."))] == []


@pytest.mark.parametrize(
    ("verb", "usage"),
    [("run", "[SCENARIO]"), ("compare", "A B"), ("report", "[DIR]..."), ("merge", "DIR..."), ("list", "[KIND|NAME]")],
)
def test_the_usage_says_what_is_to_be_typed(here: Command, verb: str, usage: str) -> None:
    said = here(verb, "--help").stdout

    assert said.startswith(f"Usage: tdx-stress {verb} [OPTIONS] {usage}\n")
    assert not re.search("<(str|path|list)", said)


def test_help_imports_nothing_heavy(python: Command) -> None:
    done = python("-c", f"import sys, stress.cli; print(sorted(set({HEAVY}) & set(sys.modules)))")

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("verb", "options", "said"),
    [
        ("run",
         "ordering vcpus zappers pages duration shootdowns warmup rate seed workers cpus set delay amplify for budget "
         "out json junit ktap trace no-report fail-fast quiet verbose no-color",
         "Break the module or KVM on purpose"),
        ("explore",
         "ordering fault vcpus zappers pages tlb-entries shootdowns set no-symmetry no-reduction no-liveness memory "
         "threads random pct seed out json junit fail-fast quiet verbose no-color",
         "1 a forbidden or unknown outcome in an ordering declared safe"),
        ("replay", "pair until show ordering out json quiet verbose no-color",
         "1 a step cannot be taken or goes another way, or the state or the outcome at the end is another"),
    ],
)  # fmt: skip
def test_the_help_of_a_verb_names_every_option_once_and_in_groups(
    here: Command, verb: str, options: str, said: str
) -> None:
    shown = here(verb, "--help").stdout
    groups = ["Arguments:", "What is run:", "The machine:", "How long, and how:", "What comes out:"]

    assert all(shown.count(f"--{option} ") == 1 for option in options.split()), shown
    assert [line for line in shown.splitlines() if line in groups] == [
        group for group in groups if verb != "replay" or group != "The machine:"
    ]
    assert said in " ".join(shown.split())


def test_no_verb_is_a_usage_error_that_shows_the_help(here: Command) -> None:
    done = here()

    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: tdx-stress" in done.stderr
    assert "Begin with `tdx-stress run review`" in " ".join(done.stderr.split())


def test_the_version_is_one_line(here: Command) -> None:
    done = here("--version")

    assert done.returncode == 0
    assert done.stdout.startswith("tdx-stress ")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["run", "--bogus"], "No such option: --bogus"),
        (["run", "--vcpus", "many"], '--vcpus: expected a whole number, found "many"'),
        (["run", "--rate", "high"], '--rate: expected a number, found "high"'),
        (["run", "--vcpus", "0"], "--vcpus: expected a whole number from 1 to 512, found 0"),
        (["run", "--ordering", "v81"], 'unknown ordering "v81"; did you mean "v18"?'),
        (["run", "--cpus", "all"], "--cpus: expected a list such as 0-3,6"),
        (["run", "--cpus", "99999"], "--cpus: CPU 99999 is not among those"),
        (["run", "--out", "/proc/nowhere"], "/proc/nowhere: cannot write"),
        (["run", "--json", "/proc/nowhere/x"], "--json: /proc/nowhere/x: cannot write"),
        (["bench", "--orderings", "spec,no_kick"], "--include-unsafe races it and marks it"),
        (["bench", "--fail-if", "p99"], "--fail-if: expected FIGURE>+15%"),
        (["bench", "--ktap", "/proc/nowhere/x"], "--ktap: /proc/nowhere/x: cannot write"),
        (["bench", "--resume", "no"], "no: expected the directory of a bench, found no such directory\n"),
        (["bench", "--resume", "."], ".: expected the directory of a bench, found no bench.json in it\n"),
        (["run", "--resume", "no"], "--resume: no: no such directory\n"),
        *(
            ([verb, "--resume", "."], "--resume: .: nothing to go on with in it: what is whole, or was one piece of")
            for verb in ("run", "explore", "orders", "faults", "amplify", "selftest")
        ),
        *(
            (
                ["explore", "--contract", f"--{one}"],
                f"--{one.split('=')[0]}: means nothing beside --contract, which has",
            )
            for one in ("resume=.", "share=1/2", "cluster=local:2")
        ),
        (["compare", "a", "b"], "a: expected the directory of a run, found no such directory"),
        (["compare", "a", "b", "--fail-if", "p98>+1%"], 'unknown figure "p98"; did you mean "p99"?'),
        (["explore", "--memory", "lots"], '--memory: expected an amount such as 8G, 500MB or 2GiB, found "lots"'),
        (["explore", "--out", "/proc/nowhere"], "/proc/nowhere: cannot write"),
        (["run", "--set", "yields.nowhere=0.5"], 'yields: unknown label "nowhere"'),
        (["run", "--json", "-", "--ktap", "-"], "--ktap: expected a file beside `--json -`"),
        (["list", "v81"], 'found "v81"; did you mean "v18"?'),
        (["replay"], "Missing argument 'FILE'; see `tdx-stress replay --help`"),
        (["run", "--durtion", "3s"], "--duration); see `tdx-stress run --help`"),
        (["rnu"], "No such command 'rnu'"),
        (["run", "--fault", "no_flsh"], '"no_flsh"; did you mean "no_flush_at_entry" or "no_flush_on_switch"?'),
        (
            ["amplify", "--for", "stale"],
            '"stale"; did you mean "stale_in_window", "stale_after_kick" or "stale_after_done"?',
        ),
        (["run", "--set", 'expect="stale"'], 'found "stale"; did you mean ["stale_after_done"]?'),
        (["run", "--set", 'expect=["stale"]'], 'unknown outcome "stale"; did you mean "stale_after_done"?'),
        (
            ["run", "--json", "out"],
            "`tdx-stress list` names them all; a file behind --json has / or .json in its name: ./out\n",
        ),
        (["replay", "a\x1b[2Jb"], "tdx-stress: a\\x1b[2Jb: expected a witness, found no such file\n"),
        (["explore", "--orders", "--vcpus", "3"], "--vcpus: means nothing beside --orders, which has machines of its"),
        *(
            (["explore", "--dump", other], "means nothing beside --")
            for other in ("--orders", "--ordering=v18", "--vcpus=3", "--random=5")
        ),
        (["doctor", "--cpus", "9999"], "--cpus: CPU 9999 is not among those that this process may use"),
        (["doctor", "--vcpus", "513"], "--vcpus: expected a whole number from 1 to 512, found 513"),
        (["doctor", "--ordering", "v18"], "No such option: --ordering"),
        (["selftest", "--duration", "soon"], "--duration: expected a duration above 0"),
        (["selftest", "--cpus", "all"], "--cpus: expected a list such as 0-3,6"),
        (["selftest", "--json", "/proc/nowhere/x"], "--json: /proc/nowhere/x: cannot write"),
        (["selftest", "--junit", "no/j.xml"], "--junit: no/j.xml: cannot write: No such file or directory"),
    ],
)
def test_a_usage_error_is_one_line_on_stderr_and_exit_2_and_leaves_nothing(
    here: Command, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = here(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("tdx-stress: ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("orders --ordering spec,v18", "explore --orders --ordering spec,v18"),
        ("faults --fault nothing", "explore --matrix --fault nothing"),
        ("amplify --for nothing", "run --amplify auto --for nothing"),
    ],
)
def test_a_verb_of_its_own_says_what_its_old_spelling_says(here: Command, new: str, old: str) -> None:
    done, before = (here(*words.split()) for words in (new, old))

    assert (done.returncode, done.stderr) == (2, before.stderr)


def test_json_without_a_file_is_alone_on_stdout_with_one_in_it_and_the_word_behind_it_is_left_to_the_verb(
    here: Command, tmp_path: Path
) -> None:
    shown = here("list", "--json", "outcomes", "--no-color")
    here("list", "outcomes", "--json=listed.json")

    assert (shown.returncode, list(tmp_path.glob("outcomes*"))) == (0, [])
    assert list(json.loads(shown.stdout)) == ["outcomes"]
    assert json.loads(shown.stdout) == json.loads((tmp_path / "listed.json").read_text())


def test_closed_streams_are_no_error(new: Command) -> None:
    assert new("bash", "-c", f"{sys.executable} -W error -m stress list <&- >&- 2>&-").returncode == 0


def test_a_terminal_that_knows_only_ascii_is_no_error(tdx_stress: Command, tmp_path: Path) -> None:
    done = tdx_stress("run", "./Ü.toml", PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (2, "tdx-stress: ./\\xdc.toml: expected a TOML file, found no such file\n")


@pytest.mark.parametrize(
    ("error", "explained_as"),
    [
        (UsageFault("no"), ("no", 2)),
        (HarnessFault("no"), ("no", 3)),
        (CannotRunHere("no"), ("no", 4)),
        (KeyError("x"), ("internal error: KeyError: 'x' (-v shows where)", 3)),
    ],
)
def test_an_error_of_our_own_ends_in_its_exit_code_and_any_other_is_an_internal_one(
    error: Exception, explained_as: tuple[str, int]
) -> None:
    assert explained(error) == explained_as


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "tdx-stress: internal error: TypeError: 'NoneType' object is not callable (-v shows where)\n"),
        (["-v"], "Traceback (most recent call last):\n"),
    ],
)
def test_an_internal_error_is_one_line_and_with_v_a_traceback(behind: Command, more: list[str], said: str) -> None:
    done = behind("import stress.resolve\nstress.resolve.resolve = None", "run", *more)

    assert done.returncode == 3
    assert done.stderr.startswith(said)
    assert more or done.stderr == said


@pytest.mark.processes
def test_a_result_goes_into_every_file_that_is_named_and_with_q_only_the_lines_to_grep_are_said(
    tdx_stress: Command, tmp_path: Path
) -> None:
    files = "--out out --json out.json --junit out.xml --ktap out.ktap"

    done = tdx_stress("run", "--ordering", "no_block", *SHORT[:-1], *files.split(), "-q")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Observation no_block Always ")
    assert done.stdout.count("\n") == 1
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads((tmp_path / "out/result.json").read_text())
    assert ElementTree.parse(tmp_path / "out.xml").getroot().get("tests") == "1"
    assert "\nok 1 review.no_block # caught: " in (tmp_path / "out.ktap").read_text()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("result.json", "raw.npz", "report.html"),
        *("latency.png", "latency.hgrm", "latency.hlog", "stale.png"),
    }


@pytest.mark.processes
def test_a_run_without_its_report_leaves_raw_results_from_which_report_makes_the_rest(
    tdx_stress: Command, tmp_path: Path
) -> None:
    done = tdx_stress("run", "--ordering", "no_block", *SHORT, "--out", "out", "--ktap", "-")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert done.stdout.startswith("KTAP version 1\n1..1\n")
    assert done.stdout.endswith("# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0\n")
    tdx_stress("report", "out", "-q")

    assert (done.returncode, left) == (0, {"result.json", "raw.npz"})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*left, *MADE}


@pytest.mark.processes
def test_a_known_wrong_ordering_said_to_be_safe_fails_and_fail_fast_stops_there(tdx_stress: Command) -> None:
    options = "--ordering no_block --ordering spec --set expect=safe --fail-fast --json -"

    done = tdx_stress("run", *options.split(), *SHORT)

    assert done.returncode == 1
    assert "<== FAILED no_block: declared safe, and showed not_blocked" in done.stderr
    assert [run["ordering"] for run in json.loads(done.stdout)["runs"]] == ["no_block"]


@pytest.mark.processes
def test_a_json_file_on_a_full_disk_is_one_line_and_the_tables_are_shown(tdx_stress: Command) -> None:
    done = tdx_stress("run", "--ordering", "no_block", *SHORT, "--json", "/dev/full")

    assert done.returncode == 3
    assert "\ntdx-stress: /dev/full: cannot write: No space left on device" in done.stderr
    assert "Observation no_block Always " in done.stdout
