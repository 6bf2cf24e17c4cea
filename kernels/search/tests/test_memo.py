"""Moves remembered: where what they depend on is not noted, where there is no room, where a step does what none may."""

import pytest

from kernels.language import compile as native
from kernels.language.syntax import LanguageError
from kernels.search import breadth_first as breadth
from kernels.search import memory, schedule
from kernels.search import state as own_words
from kernels.search import transitions as memo
from kernels.search.breadth_first import Search
from kernels.search.explore import explore
from kernels.search.tables import get_ready, make_plan
from kernels.tdx.protocol import SHOOTDOWN, Size, of_flow
from kernels.tests.orders import SPEC, V18

SIZE = Size(1, 1)


def begun(threads: int = 1) -> Search:
    """A search of one vCPU against one zapper that has not run."""
    get_ready(SHOOTDOWN)
    start = schedule.Schedule(*of_flow(SPEC), SIZE)
    return Search(start, make_plan(start, symmetry=True, reduction=True), threads, 1 << 26)


def test_where_no_room_is_left_moves_are_taken_anew_and_the_numbers_stay(monkeypatch):
    size = Size(2, 2)
    whole = explore(*of_flow(V18), size, liveness=False)
    made: list[memo.Memo] = []

    def small(*given):
        made.extend(it._replace(most_pool=1500) for it in memory.memos(*given))
        return made

    monkeypatch.setattr(breadth, "memos", small)
    less = explore(*of_flow(V18), size, liveness=False)

    assert all(it.counters[memo.POOL] > 1300 for it in made)
    assert (less.states, less.transitions, less.depth) == (whole.states, whole.transitions, whole.depth)


def test_a_step_that_no_step_may_be_ends_a_search_with_an_error():
    it = begun()
    it.memos[0].common[own_words.STATE] = own_words.IMPOSSIBLE

    with pytest.raises(RuntimeError, match="a step looked at other words than before in an equal state"):
        it.run(None)


def test_own_words_are_kept_once_however_many_threads_meet_them():
    it = begun(threads=2)

    assert it.run(None) == ""
    common = it.memos[0].common
    rows = it.memos[0].locals[: common[own_words.INTERNED] * it.memos[0].width].reshape(-1, it.memos[0].width)
    assert len({tuple(row) for row in rows.tolist()}) == len(rows) > 100


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("x = td[0:2]", "0:2"),
        ("for x in td: pass", "for x in td:\n    pass"),
        ("x = print(1)", "a call of print"),
        ("x = 1.5", "1.5"),
        ("lay[0] = 1", "write to a record: lay[0]"),
        ("rules[0] += 1", "write to a record: rules[0]"),
    ],
)
def test_source_that_no_step_machine_has_is_refused_with_its_function(line, what):
    source = f"def step(td, lay, rules, me, chosen):\n    {line}\n    return 0\n"

    with pytest.raises(SyntaxError, match="step: what is compiled here has no") as refused:
        native.Native(SHOOTDOWN.records, source, {}).function("step")
    assert str(refused.value).endswith(what)
    assert not isinstance(refused.value, LanguageError)


def answer() -> int:
    """Compiles a function, or takes it from the cache, and calls it."""
    return int(native.compiled("native", ("answer",), {}, "def answer(): return 42").answer())


def test_object_code_is_kept_and_what_is_damaged_is_made_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("TDX_STRESS_CACHE", str(tmp_path / "cache"))
    assert answer() == 42
    (file,) = tmp_path.glob("cache/*/native_*.code")
    whole = file.read_bytes()
    assert answer() == 42
    file.write_bytes(whole[:-100])
    assert answer() == 42
    assert file.read_bytes() == whole
