"""What the step language does not have is an error where it stands; what it has is labelled by where it stands."""

import inspect
import re
from collections.abc import Iterator
from enum import IntFlag

import pytest

from kernels.language.atomics import fetch_add_seq_cst, load_acquire, store_release
from kernels.language.parse import flat, subs
from kernels.language.steps import anew_with, composed, op, steps
from kernels.language.syntax import DECLARED, LanguageError, Step, sites
from kernels.tdx.module import mem as module
from kernels.tests.programs import compiled

# Behind `@steps` and `def f(td, lay, rules, me):` these lines; the error stands in the one that ends with "# here".
REFUSED = {
    "list comprehension": ("x = [i for i in range(3)]  # here", "an expression has no ListComp"),
    "try": ("try:  # here\n    x = 1\nfinally:\n    pass", "the step language has no Try like this: try:"),
    "tuple assignment": ("x, y = 1, 2  # here", "the step language has no Assign like this: x, y = (1, 2)"),
    "two targets": ("x = y = 1  # here", "the step language has no Assign like this: x = y = 1"),
    "annotated assignment": ("x: int = 1  # here", "the step language has no AnnAssign like this"),
    "assignment to a word": ("td[0] = 1  # here", "the step language has no Assign like this: td[0] = 1"),
    "float": ("x = 1.5  # here", "an expression has no Constant: 1.5"),
    "subscript": ("x = td[0]  # here", "an expression has no Subscript: td[0]"),
    "attribute of the words": ("x = td.size  # here", "an expression has no Attribute: td.size"),
    "unknown name": ("x = unheard_of  # here", "unheard_of is not a local, an integer or the environment"),
    "keyword access": ("yield load_acquire(td, index=1)  # here", "a call is to a plain name without keywords"),
    "call of an attribute": ("x = lay.get()  # here", "a call is to a plain name without keywords: lay.get()"),
    "unmarked callee": ("x = plain(1)  # here", "plain is None: a shared access stands under a yield"),
    "shared access outside a yield": (
        "x = load_acquire(td, lay.a)  # here", "load_acquire is op: a shared access stands under a yield",
    ),
    "bare shared access": (
        "store_release(td, lay.a, 1)  # here", "a bare call may be to a local or harness function, store_release is op",
    ),
    "access as the argument of another": (
        "yield store_release(td, lay.a, load_acquire(td, lay.b))  # here",
        "load_acquire is op: a shared access stands under a yield",
    ),
    "choice outside a yield": (
        "x = coin(td, lay, rules, me)  # here", "coin is choice: a shared access stands under a yield",
    ),
    "two yields": (
        "x = (yield load_acquire(td, lay.a)) + (yield load_acquire(td, lay.b))  # here", "one yield an expression",
    ),
    "yield in the argument of a yield": (
        "x = 1 + (yield load_acquire(td, (yield load_acquire(td, lay.a))))  # here", "one yield an expression",
    ),
    "yield under and": (
        "x = lay.a and (yield load_acquire(td, lay.b))  # here", "a yield under and, or, a conditional expression",
    ),
    "yield under or": ("if lay.a or (yield load_acquire(td, lay.b)):  # here\n    pass", "a yield under and, or"),
    "yield under a conditional expression": (
        "x = (yield load_acquire(td, lay.b)) if lay.a else 0  # here",
        "a yield under and, or, a conditional expression or a chained comparison may not happen",
    ),
    "yield under a chained comparison": (
        "x = 0 < lay.a < (yield load_acquire(td, lay.b))  # here",
        "a yield under and, or, a conditional expression or a chained comparison may not happen",
    ),
    "yield of a number": ("yield 3  # here", "a yield takes a call"),
    "yield of an unknown name": (
        "yield unheard_of(td, lay.a)  # here", "unheard_of is not known here: what a step calls stands above it",
    ),
    "yield of a local function": (
        "yield twice(td)  # here", "a yield takes one shared access or a choice, twice is local",
    ),
    "yield of a function of steps": (
        "yield other(td, lay, rules, me)  # here", "a yield takes one shared access or a choice, other is steps",
    ),
    "yield from an access": (
        "yield from load_acquire(td, lay.a)  # here", "yield from takes a function of steps, load_acquire is op",
    ),
    "call of a function of steps": (
        "x = other(td, lay, rules, me)  # here", "other is steps: a shared access stands under a yield",
    ),
    "too many arguments": (
        "yield from other(td, lay, rules, me, 1)  # here", "other takes 0 arguments behind the environment",
    ),
    "the value of a function that may return none": (
        "x = yield from other(td, lay, rules, me)  # here", "other does not end with a return of a value everywhere",
    ),
    "another environment": (
        "yield from other(td, lay, me, rules)  # here",
        "other takes td, lay, rules, me first, found td, lay, me, rules",
    ),
    "access to something else": ("yield load_acquire(lay, lay.a)  # here", "load_acquire takes td first, found lay"),
    "assignment to td": ("td = 1  # here", "td cannot be assigned to"),
    "assignment to lay in a loop": (
        "for lay in range(3):  # here\n    yield load_acquire(td, 0)", "lay cannot be assigned to",
    ),
    "assignment to the loop variable": (
        "for i in range(3):\n    i = 1  # here", "i counts a loop around this line and cannot be assigned to",
    ),
    "addition to the loop variable": (
        "for i in range(3):\n    i += 1  # here", "i counts a loop around this line and cannot be assigned to",
    ),
    "loop variable of two loops": (
        "for i in range(3):\n    for i in range(2):  # here\n        pass",
        "a for runs over range(stop) or range(start, stop) with a name of its own",
    ),
    "range with a stride": (
        "for i in range(0, 9, 3):  # here\n    pass", "a for runs over range(stop) or range(start, stop)",
    ),
    "for over something else": (
        "for i in lay:  # here\n    pass", "the step language has no For like this: for i in lay:",
    ),
    "yield in a range": (
        "for i in range((yield load_acquire(td, lay.a))):  # here\n    pass", "an expression has no Yield",
    ),
    "a loop variable that a yield assigns": (
        "for i in range(3):\n    i = yield load_acquire(td, lay.a)  # here", "i counts a loop around this line",
    ),
    "a division that is no integer": ("x = 1 / 2  # here", "an expression has no Div: 1 / 2"),
    "membership": ("x = 1 in lay.a  # here", "an expression has no In: 1 in lay.a"),
    "a local with a name of the translator": ("_t1 = 5  # here", "_t1: names that start with _ are the translator's"),
    "what reads words beside a yield": (
        "x = own(td, lay.a) + (yield fetch_add_seq_cst(td, lay.a, 1))  # here",
        "what reads words does not stand beside a yield: which comes first?",
    ),
    "an argument with an effect": ("x = larger(1, bump(td, lay))  # here", "bump has an effect: it stands alone"),
    "an effect in a test": ("if bump(td, lay):  # here\n    pass", "bump has an effect: it stands alone"),
    "a member that an enumeration has not": ("x = Colour.GREEN  # here", "an expression has no Attribute"),
    "a field of an enumeration that is no member": ("x = Colour.mro  # here", "an expression has no Attribute"),
    "two steps on one line": (
        "x = yield load_acquire(td, lay.a); yield store_release(td, lay.b, x)  # here", "one step a line",
    ),
    "for else": ("for i in range(3):  # here\n    pass\nelse:\n    x = 1", "the step language has no For like this"),
    "while else": (
        "while lay.a:  # here\n    pass\nelse:\n    x = 1", "the step language has no While like this: while lay.a:",
    ),
}  # fmt: skip
OTHER = "@steps\ndef other(td, lay, rules, me):\n    yield load_acquire(td, lay.a)\n\n\n"
HEAD = "@steps\ndef f(td, lay, rules, me):\n"


def plain(value: int) -> int:
    """Not marked as anything."""
    return value


@pytest.fixture(autouse=True)
def _sites_of_these_sources_are_forgotten() -> Iterator[None]:
    """A label has room for a few thousand."""
    known = len(DECLARED)
    yield
    del DECLARED[known:]


@pytest.mark.parametrize("construct", REFUSED)
def test_the_language_does_not_have(construct):
    body, why = REFUSED[construct]
    source = OTHER + HEAD + "\n".join(f"    {line}" for line in body.splitlines()) + "\n"
    line = next(number for number, text in enumerate(source.splitlines(), 1) if text.endswith("# here"))

    with pytest.raises(LanguageError, match=re.escape(f">:{line}: {why}")):
        compiled(source, "f", plain=plain, Colour=IntFlag("Colour", {"RED": 2}))


PARAMETERS = "the first parameters of f must be td, lay, rules, me, without defaults"
WHOLE = {
    "a value alone": (f"{HEAD}    return 3\n", ">:2: f takes no step"),
    "a docstring alone": (f'{HEAD}    """Nothing."""\n', ">:2: f takes no step"),
    **{
        f"({given})": (f"@steps\ndef f({given}):\n    yield load_acquire(td, 0)\n", PARAMETERS)
        for given in (
            "", "td, lay, me, rules", "td, lay, rules", "td, lay, rules, me, gpa=0", "td, lay, rules, me, *more",
            "td, lay, rules, me, *, gpa", "td, lay, rules, me, /",
        )
    },
    "a return in the midst of what is taken in place": (
        "@steps(in_place=True)\ndef f(td, lay, rules, me):\n"
        "    if lay.a:\n        return 1\n    yield load_acquire(td, lay.a)\n    return 0\n",
        ">:2: f is taken in place: it returns at its end and nowhere else",
    ),
    "what stands below": (
        HEAD + "    yield from later(td, lay, rules, me)\n\n\n" + OTHER.replace("other", "later"),
        "later is not known here: what a step calls stands above it",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "why"), WHOLE.values(), ids=WHOLE)
def test_no_function_of_steps_has(source, why):
    with pytest.raises(LanguageError, match=re.escape(why)):
        compiled(source, "f")


def test_an_error_names_the_file_and_the_line_as_an_editor_opens_them():
    def wrong(td, lay, rules, me):
        yield load_acquire(td, lay.a)
        x = [1]
        return x

    line = inspect.getsourcelines(wrong)[1] + 2
    with pytest.raises(LanguageError) as error:
        steps(wrong)

    assert str(error.value) == f"kernels/language/tests/test_language.py:{line}: an expression has no List: [1]"


def test_an_op_of_two_shared_accesses_is_refused():
    def add_and_look(td, word):
        fetch_add_seq_cst(td, word, 1)
        return load_acquire(td, word)

    line = inspect.getsourcelines(add_and_look)[1]
    with pytest.raises(LanguageError) as error:
        op(add_and_look)

    assert str(error.value) == (
        f"kernels/language/tests/test_language.py:{line}: an op is one shared access, "
        "add_and_look has 2: ['fetch_add_seq_cst', 'load_acquire']"
    )


def test_an_op_of_one_access_within_another_or_in_a_loop_or_of_none_is_refused():
    def copy(td, word):
        store_release(td, word, load_acquire(td, word))

    def nothing(td, word):
        return word

    def twice(td, word):
        for _ in range(2):
            fetch_add_seq_cst(td, word, 1)

    with pytest.raises(LanguageError, match="an op is one shared access, copy has 2"):
        op(copy)
    with pytest.raises(LanguageError, match="an op is one shared access, twice has a loop"):
        op(twice)
    with pytest.raises(LanguageError, match=r"an op is one shared access, nothing has 0: \[\]"):
        op(nothing)


ALIKE = """\
@steps
def other(td, lay, rules, me, gpa):
    return (yield load_acquire(td, lay.a + gpa))


@steps
def another(td, lay, rules, me, gpa):
    return (yield load_acquire(td, lay.b + gpa))


@steps
def base(td, lay, rules, me, gpa):
    seen = yield from other(td, lay, rules, me, gpa)
    yield store_release(td, lay.c, seen)
    return seen


"""


def test_what_is_composed_has_what_the_layers_have_in_its_places_under_the_names_and_at_the_sites_of_the_source():
    base, other, another = (compiled(ALIKE, name) for name in ("base", "other", "another"))
    base, known = anew_with(base, {"other": other}, "base"), len(sites())

    made = composed(base, [{other: another}], "both")

    assert (made.name, [one.name for one in subs(made)]) == ("both", ["another", "both"])
    assert [step.site for step in flat(made.body) if isinstance(step, Step)] == [
        step.site for step in flat(base.body) if isinstance(step, Step)
    ]
    assert len(sites()) == known


def test_what_stands_in_a_place_may_call_what_is_below_it():
    over = """@steps
def over(td, lay, rules, me, gpa):
    seen = yield from other(td, lay, rules, me, gpa)
    yield store_release(td, lay.a, seen)
    return seen
"""
    base = compiled(ALIKE, "base")
    other = base.calls["other"]
    another = anew_with(compiled(ALIKE, "another"), {}, "another")
    above = compiled(over, "over", other=other)

    made = composed(base, [{other: another}, {other: above}], "three")

    assert [one.name for one in subs(made)] == ["another", "over", "three"]


def test_what_stands_in_a_place_takes_what_the_place_takes():
    none = "@steps\ndef none(td, lay, rules, me):\n    return (yield load_acquire(td, lay.a))\n"
    base = compiled(ALIKE, "base")

    with pytest.raises(LanguageError, match=r"none takes what other does: \('gpa',\)"):
        composed(base, [{base.calls["other"]: compiled(none, "none")}], "f")


def test_a_function_of_steps_cannot_be_called():
    with pytest.raises(
        TypeError, match="mem_track is a function of steps: take it through Reference, straight or machine"
    ):
        module.mem_track(None, None, None, None)


def test_a_function_of_steps_keeps_the_parameters_behind_the_environment():
    assert module.mem_page_aug.parameters == ("gpa", "page")


def test_a_site_prints_as_where_and_what():
    site = next(site for site in sites() if site.name == "mem_track.load_acquire_epoch_tracking")

    assert str(site) == f"mem_track: load_acquire epoch_tracking (kernels/tdx/module/mem.py:{site.line})"


def test_a_step_that_stands_twice_in_a_function_has_two_names():
    source = HEAD + "    yield load_acquire(td, lay.a)\n    yield load_acquire(td, lay.a)\n"
    known = len(sites())
    compiled(source, "f")
    names = [site.name for site in sites()[known:]]

    assert names == ["f.load_acquire_a", "f.load_acquire_a_2"]


def test_a_function_that_is_declared_again_leaves_every_number_where_its_site_stands():
    def again():
        def f(td, lay, rules, me):
            yield load_acquire(td, lay.a)

        return steps(f)

    again(), again()
    last = compiled(f"{HEAD}    yield load_acquire(td, lay.a)\n", "f").parsed.sites[0]

    assert sites()[last.number - 1] == last
