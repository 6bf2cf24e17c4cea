"""Every kind of result has the same faces, and is read back from its directory alone."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from kernels.tdx.counters import VCPU_HISTS, ZAPPER_HISTS
from results import store
from results.history import History
from results.kinds.kind import BY_NAME, Kind, json_schemas, kind_in
from results.store import StoreError
from results.tests import views
from results.tests.builders.kept import keep
from results.tests.views import DOCUMENTS


def kept(directory: Path, name: str) -> Kind:
    """The kind of a directory in which the file of this one stands, and nothing that is made of it."""
    return kind_in(keep(directory, views.a_spread_bench() if name == "bench" else DOCUMENTS[name]))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_result_is_of_the_kind_whose_file_is_there_and_has_every_face(tmp_path: Path, name: str) -> None:
    kind = kept(tmp_path, name)
    found = kind.read(tmp_path)

    assert kind.name == name
    assert views.printed(*kind.shown(found), width=80)
    assert list(kind.lines(found))
    assert kind.cases(found)
    assert kind.suite(found)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("run", 6), ("real", 1), ("bench", 0), ("exploration", 1), ("orders", 0), ("faults", 0), ("amplification", 0),
        ("contract", 0), ("selftest", 6),
    ],
)  # fmt: skip
def test_a_document_comes_to_the_exit_code_of_its_verb(tmp_path: Path, name: str, code: int) -> None:
    kind = kept(tmp_path, name)

    assert kind.exit_code(kind.read(tmp_path)) == code


@pytest.mark.parametrize(("name", "stem"), [("orders", "atlas"), ("faults", "matrix")])
def test_a_map_is_drawn_again_from_the_document_alone(tmp_path: Path, name: str, stem: str) -> None:
    kind = kept(tmp_path, name)

    assert kind.draw(tmp_path, kind.read(tmp_path)) == ""
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.json", f"{stem}.png", f"{stem}.svg"}


def places(its: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The path to everything that a document holds, and what stands there."""
    for key, value in its.items() if isinstance(its, dict) else enumerate(its) if isinstance(its, list) else ():
        yield (*path, key), value
        yield from places(value, (*path, key))


ODD: tuple[Any, ...] = (..., "x", 7, 0, [], {})
PHASE_NAMES = {*ZAPPER_HISTS, *VCPU_HISTS}


def damaged(document: dict[str, Any]) -> Iterator[str]:
    """What is another in the document at this moment: one field that is gone, of another kind, or odd; of entries of a
    list only one, and of phases one in all these ways, each other one's fields in one of them in turn.
    """
    kinds = {(*("*" if isinstance(key, int) else key for key in path), type(it)): path for path, it in places(document)}
    phases = Counter[Any]()
    for kind, path in kinds.items():
        inner = reduce(getitem, path[:-1], document)
        whole = inner.copy()
        alike = tuple("*" if key in PHASE_NAMES else key for key in kind)
        phases[alike] += 1
        for value in ODD if phases[alike] == 1 else ODD[phases[alike] % len(ODD) :][:1]:
            inner[path[-1]] = value
            if value is ...:
                del inner[path[-1]]
            yield f"{path} {value}"
            inner.clear()
            inner.extend(whole) if isinstance(inner, list) else inner.update(whole)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_whatever_field_is_damaged_is_refused_in_one_line_or_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kind, harmed = kept(tmp_path, name), list[str]()
    document = json.loads((tmp_path / kind.file).read_text())
    monkeypatch.setattr(store, "json_value", lambda *_: document)  # as it would be written and read back
    for what in damaged(document):
        try:
            found = kind.read(tmp_path)
            faces = (kind.shown, kind.tables, kind.lines, kind.cases, kind.rows, kind.said)
            seen = [list(face(found)) for face in faces], kind.suite(found), kind.exit_code(found)
            harmed += [] if seen else [what]
        except StoreError as refused:
            named = str(refused).startswith(f"{tmp_path / kind.file}: ") and "\n" not in str(refused)
            harmed += [] if named else [f"{what}: {refused}"]
        except Exception as error:
            harmed.append(f"{what}: {error!r}")

    assert harmed == []


@pytest.mark.parametrize("name", BY_NAME)
def test_a_document_of_another_version_is_refused(tmp_path: Path, name: str) -> None:
    kind = kept(tmp_path, name)
    (tmp_path / kind.file).write_text('{"schema": "tdx-stress/other/2"}')

    with pytest.raises(StoreError, match=f"{kind.file}: expected"):
        kind.read(tmp_path)


def test_two_results_in_one_directory_are_refused_by_their_names(tmp_path: Path) -> None:
    kept(tmp_path, "selftest")

    with pytest.raises(
        StoreError, match=r"expected an atlas or a selftest, found atlas\.json and selftest\.json; move"
    ):
        kept(tmp_path, "orders")


def test_an_empty_directory_is_that_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"expected the directory of a run, found no result\.json in it"):
        kind_in(tmp_path).read(tmp_path)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        (
            "exploration",
            [("v18", True, "passed"), ("w1 (no_flush_at_entry)", False, "failed"), ("mine", True, "inconclusive")],
        ),
        ("orders", [("mine", False, "searched")]),
        ("faults", [("right", True, "searched"), ("wrong", False, "searched")]),
        ("contract", [("once", True, "passed"), ("spun", True, "passed"), ("literal", False, "passed")]),
        ("amplification", [("kick_then_track", False, "passed"), ("v18", False, "passed")]),
        ("selftest", [("no_kick", False, "passed"), ("no_kick", False, "inconclusive")]),
    ],
)
def test_a_history_lists_every_kind_with_its_verdicts(tmp_path: Path, name: str, rows: list[Any]) -> None:
    kept(tmp_path, name)
    found = History([tmp_path]).rows({})

    assert {row["kind"] for row in found} == {name}
    assert [(row["ordering"], row["safe"], row["verdict"]) for row in found][: len(rows)] == rows
    assert {(row["p50_ns"], row["forbidden"]) for row in found} == {(None, None)}


@pytest.mark.parametrize("name", BY_NAME)
def test_others_can_have_the_schema_of_what_it_leaves(name: str) -> None:
    schemas = json_schemas(BY_NAME[name])

    assert all(schema.startswith("tdx-stress/") for schema in schemas)
    assert all({"started", "version"} <= set(schema["properties"]) for schema in schemas.values())
    assert json.loads(json.dumps(schemas)) == schemas
