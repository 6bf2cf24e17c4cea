"""What a value may be in the TOML of an ordering, a scenario or a fault: words, lists of them, times, and what an error
says was expected.
"""

import enum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.fields import FieldInfo

from kernels.tdx.outcomes import FORBIDDEN, Outcome
from kernels.tdx.rules import FLOWS, MAX_TLB_ENTRIES, Fault, KickBy, Lock, Step, flow_name, flow_named
from scenarios.busy import A_POLICY, a_policy
from scenarios.files import shipped_names
from scenarios.times import parse_delay, parse_duration, parse_start_offset
from scenarios.wording import listed, names, nearest, problem, shown, unknown

LOCKS = names(Lock)
STEPS = (*(name for name in names(Step) if "lock_" not in name), "lock NAME", "lock NAME read", "unlock NAME")
FAULTS, OUTCOMES, KICKS = names(Fault), names(Outcome), names(KickBy)
FLOW_NAMES = tuple(map(flow_name, FLOWS))
FAULT_LOCKS = ("none", *LOCKS[:-1])
ENTRY_CHECKS = ("requests", "gate", "wait_for_sept_zap")

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


def elsewhere(word: str) -> str:
    """What this word names elsewhere: `"v18" is an ordering: --ordering v18`; "" where it names nothing."""
    places = (
        ("an ordering: --ordering", shipped_names("orderings")),
        ("a scenario: tdx-stress run", [*shipped_names("."), *shipped_names("real")]),
        ("a fault: --fault", FAULTS),
    )
    return next((f"{shown(word)} is {what} {word}" for what, words in places if word in words), "")


def one_of(noun: str, words: tuple[str, ...] | type[enum.Enum]) -> AfterValidator:
    """A word out of a few."""
    known = words if isinstance(words, tuple) else names(words)

    def check(word: str) -> str:
        if word not in known:
            raise problem(unknown(noun, word, known))
        return word

    check.__doc__ = f"a {noun} ({listed(known)})"  # what an error says was expected
    return AfterValidator(check)


def several_of(noun: str, words: tuple[str, ...], none: str = "") -> AfterValidator:
    """Words out of a few with a + between two, in their order; `none` of them is a word, too."""

    def check(text: str) -> str:
        given = text.split("+")
        for word in given if text != none or not none else ():
            if word not in words:
                raise problem(unknown(noun, word, (none, *words) if none else words))
        return "+".join(word for word in words if word in given) or none

    return AfterValidator(check)


def a_step(word: str) -> str:
    """A step of a shootdown; a lock is taken for write where it is not said how."""
    what, *said = word.split(" ")
    if what not in ("lock", "unlock") or not said:
        if word not in STEPS:
            raise problem(unknown("step", word, STEPS))
        return word
    lock, *mode = said
    if lock not in LOCKS:
        raise problem(unknown("lock", lock, LOCKS))
    if mode not in ([], ["read"], ["write"]) or (mode and what == "unlock"):
        expected = f'"lock {lock}" or "lock {lock} read"' if what == "lock" else f'"unlock {lock}"'
        raise problem(f"expected {expected}, found {shown(word)}")
    return word.removesuffix(" write")


def parts_of_a_flow(name: str) -> str:
    """Parts with a + between two, in their order."""
    for part in name.split("+"):
        if part not in FLOW_NAMES:
            raise problem(unknown("flow", part, FLOW_NAMES))
    return flow_name(flow_named(name))


def each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    """No value twice."""
    for place, value in enumerate(values):
        if value in values[:place]:
            raise problem(f"expected each at most once, found {shown(value)} twice")
    return values


def a_forbidden_outcome(word: str) -> str:
    """An outcome that a wrong ordering can be known for."""
    if word not in OUTCOMES:
        raise problem(unknown("outcome", word, FORBIDDEN))
    if word not in FORBIDDEN:
        raise problem(f'outcome "{word}" is not forbidden; expected {listed(FORBIDDEN)}')
    return word


def the_word_safe(word: str) -> str:
    """`safe`, or a hint to write the list."""
    if word == "safe":
        return word
    near = nearest(word, FORBIDDEN) or nearest(word, ("safe",))
    hint = "" if near is None else f"; did you mean {shown(near if near == 'safe' else [near])}?"
    raise problem(f'expected "safe" or a list of forbidden outcomes, found {shown(word)}{hint}')


def a_power_of_two(value: int) -> int:
    """The TLB is indexed by a mask."""
    if value & (value - 1):
        raise ValueError
    return value


def a_delay(text: str) -> str:
    """A delay stays as it was written once it holds."""
    parse_delay(text)
    return text


def a_start_offset(text: str) -> str:
    """A start offset stays as it was written once it holds."""
    parse_start_offset(text)
    return text


def seconds(value: Any) -> Any:
    """A duration in words becomes seconds; a number stays as it is."""
    return parse_duration(value) if isinstance(value, str) else value


def word_or_more(value: Any) -> str:
    """The tag of a value that is a word, or a list or a table of them."""
    return "word" if isinstance(value, str) else "more"


# TOML and JSON have lists where a frozen value wants a tuple: the container is lenient, what stands in it is not.
Lenient = Field(strict=False)
Steps = Annotated[
    tuple[Annotated[str, AfterValidator(a_step)], ...],
    Field(strict=False, description='a list of steps such as ["block", "track", "kick", "remove"]'),
]
Checks = Annotated[
    tuple[Annotated[str, one_of("check", ENTRY_CHECKS)], ...],
    Field(strict=False, description=f"a list of checks ({listed(ENTRY_CHECKS)})"),
    AfterValidator(each_once),
]
Faults = Annotated[
    tuple[Annotated[str, one_of("fault", FAULTS)], ...],
    Field(strict=False, description=f"a list of faults ({listed(FAULTS)})"),
    AfterValidator(each_once),
]
Policy = Annotated[str, AfterValidator(a_policy), Field(description=A_POLICY)]
Expect = Annotated[
    Annotated[str, AfterValidator(the_word_safe), Tag("word")]
    | Annotated[
        tuple[Annotated[str, AfterValidator(a_forbidden_outcome)], ...],
        Field(strict=False, min_length=1),
        AfterValidator(each_once),
        Tag("more"),
    ],
    Discriminator(word_or_more),
]
Duration = Annotated[float, BeforeValidator(seconds)]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1), AfterValidator(each_once)]
Settings = Annotated[
    tuple[str, ...],
    Field(strict=False, description='a list of settings as `--set` takes them, such as ["on_error=stop"]'),
]
TlbEntries = Annotated[
    int,
    AfterValidator(a_power_of_two),
    Field(ge=1, le=MAX_TLB_ENTRIES, description=f"a power of two from 1 to {MAX_TLB_ENTRIES}"),
]


def whole(least: int, most: int, unit: str = "") -> FieldInfo:
    """A whole number in a range, both ends included."""
    of = f" of {unit}" if unit else ""
    return Field(ge=least, le=most, description=f"a whole number{of} from {least} to {most}")


def up_to(most: str) -> FieldInfo:
    """A duration, of some time at least."""
    said = f"a duration above 0 and up to {most}, such as 500ms, 5s, 2m or 1h"
    return Field(gt=0, le=parse_duration(most), description=said)


def expected(field: FieldInfo) -> str:
    """What an error says was expected: the description, or else what the type says."""
    if field.annotation in (bool, bool | None):
        return "true or false"
    of_words = (one.func.__doc__ for one in field.metadata if isinstance(one, AfterValidator))
    return field.description or next(of_words, None) or "text in quotes"
