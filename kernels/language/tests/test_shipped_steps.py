"""What holds of every function of steps that ships, and of its sites."""

import ast
import functools
from typing import Any

import pytest

from kernels.language import syntax
from kernels.language.atomics import SHARED_ACCESSES
from kernels.language.syntax import DECLARED, KINDS, ROOT, LanguageError, Site, is_shipped, sites, tree_of
from kernels.layout import MAX_SITES
from kernels.tdx import protocol  # noqa: F401

SHIPPED = [site for site in sites() if site.file.startswith("kernels/") and "tests" not in site.file]


def test_site_numbers_count_from_one_and_fit_the_room_for_perturbations():
    assert [site.number for site in sites()] == list(range(1, len(sites()) + 1))
    assert len(SHIPPED) < MAX_SITES


def test_sites_are_numbered_as_the_flows_have_them_whatever_was_imported_first():
    """A number stands in compiled text: another order would be compiled anew."""
    in_order = sorted(SHIPPED, key=lambda site: (site.file, site.line))

    assert [site.number for site in in_order] == list(range(1, len(SHIPPED) + 1))
    assert {site.file.rpartition("/")[0] for site in SHIPPED} >= {"kernels/tdx/module", "kernels/tdx/parts"}


def test_more_sites_than_a_label_has_room_for_are_refused(monkeypatch):
    monkeypatch.setattr(syntax, "MAX_SITES", len(SHIPPED))
    said = f"kernels/layout.py: MAX_SITES: {len(SHIPPED):,} sites of steps, expected at most {len(SHIPPED) - 1:,}"

    with pytest.raises(LanguageError, match=said):
        syntax._numbers.__wrapped__(tuple(one for one in DECLARED if is_shipped(one.source)))


def test_what_a_function_of_steps_calls_stands_above_it():
    """So none comes to itself; elsewhere an import says so, which reads these only when they are wanted."""
    place = {one: at for at, one in enumerate(DECLARED)}

    assert all(place[callee] < at for one, at in place.items() for callee in one.calls.values())


def test_site_names_are_unique():
    names = [site.name for site in SHIPPED]

    assert sorted(names) == sorted(set(names))


@functools.cache
def yields_of(file: str) -> dict[tuple[str, int], list[str]]:
    """The calls that a file's functions yield, by function and line."""
    found: dict[tuple[str, int], list[str]] = {}
    for function in ast.parse((ROOT / file).read_text()).body:
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Yield) and isinstance(node.value, ast.Call):
                    found.setdefault((function.name, node.value.lineno), []).append(ast.unparse(node.value))
    return found


def stands_there(site: Site) -> bool:
    """Whether the file, read anew, has at that line, inside that function, one yield, and it is of that call."""
    called, _, word = site.text.partition(" ")
    here = yields_of(site.file).get((site.function, site.line), [])
    return len(here) == 1 and here[0].startswith(f"{called}(") and word in here[0]


def test_a_site_stands_at_the_line_that_it_names():
    assert [site.name for site in SHIPPED if not stands_there(site)] == []


def test_every_yield_that_ships_is_a_site():
    """Nothing is stepped over: the files have as many yields as sites have lines."""
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in {site.file for site in SHIPPED}]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]

    assert sum(isinstance(node, ast.Yield) for node in nodes) == len({(site.file, site.line) for site in SHIPPED})


def shared_calls(function: Any) -> list[str]:
    """The shared accesses that a marked function calls itself."""
    calls = [node.func for node in ast.walk(tree_of(function)) if isinstance(node, ast.Call)]
    names = [call.id for call in calls if isinstance(call, ast.Name)]
    return [name for name in names if function.__globals__.get(name) in SHARED_ACCESSES]


def test_no_private_work_that_ships_touches_a_shared_word_but_to_count():
    """The translator cannot see it: `local` work on a shared word would be a step that no search takes alone.

    `note` sets bits of the tally, which no step reads.
    """
    hidden = {
        function.__name__
        for function, kind in KINDS.items()
        if kind == "local" and function.__module__.startswith("kernels.") and shared_calls(function)
    }

    assert hidden == {"note"}
