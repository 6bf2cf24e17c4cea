"""What a value may be in the TOML of an ordering, a scenario or a fault: words, lists of them, times, and what an error
says was expected.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.fields import FieldInfo

from kernels.tdx.outcomes import FORBIDDEN, Outcome
from kernels.tdx.rules import (
    FLOWS,
    Fault,
    FaultRetry,
    FlushAt,
    Gate,
    Guard,
    HkidFree,
    Ioctl,
    KickBy,
    Lock,
    MemslotZap,
    Module,
    OnError,
    Pattern,
    SeptFree,
    SharedFlush,
    Step,
    flow_name,
    flow_named,
)
from scenarios.busy import a_policy
from scenarios.delays import parse_delay, parse_start_offset
from scenarios.durations import parse_duration
from scenarios.files import shipped_names
from scenarios.wording import listed, names, nearest, problem, shown, unknown

LOCKS = names(Lock)
STEPS = (*(name for name in names(Step) if "lock_" not in name), "lock NAME", "lock NAME read", "unlock NAME")
GATES, FAULTS = names(Gate), names(Fault)
ON_ERROR, READS, OUTCOMES = names(OnError), names(Pattern), names(Outcome)
FLOW_NAMES = tuple(map(flow_name, FLOWS))
MODULES, FLUSHES, RETRIES = names(Module), names(SharedFlush), names(FaultRetry)
SEPT_FREES, HKID_FREES, GUARDS, IOCTLS = names(SeptFree), names(HkidFree), names(Guard), names(Ioctl)
MEMSLOT_ZAPS, FLUSH_AT = names(MemslotZap), names(FlushAt)
REQUESTS, FAULT_LOCKS = ("tlb_flush", "none"), ("none", *LOCKS[:-1])
OWN_LOCKS = (*LOCKS[:-1], "fault_lock", "no_entry_lock")
LOCK_KINDS = ("rw", "spin", "rw_irq", "spin_irq")
ENTRY_CHECKS = ("requests", "gate", "wait_for_sept_zap")
WORKERS = ("process", "thread")
PLACEMENTS = ("apart", "mixed")
KICKS = names(KickBy)

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def elsewhere(word: str) -> str:
    """What this word names elsewhere: `"v18" is an ordering: --ordering v18`; "" where it names nothing."""
    places = (
        ("an ordering: --ordering", shipped_names("orderings")),
        ("a scenario: tdx-stress run", [*shipped_names("."), *shipped_names("real")]),
        ("a fault: --fault", FAULTS),
    )
    return next((f"{shown(word)} is {what} {word}" for what, words in places if word in words), "")


def one_of(noun: str, words: tuple[str, ...]) -> AfterValidator:
    """A word out of a few."""

    def check(word: str) -> str:
        if word not in words:
            raise problem(unknown(noun, word, words))
        return word

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


def some_ioctls(text: str) -> str:
    """Kinds of ioctls with a + between two, in their order."""
    given = text.split("+")
    for name in given:
        if name not in IOCTLS:
            raise problem(unknown("ioctl", name, IOCTLS))
    return "+".join(name for name in IOCTLS if name in given)


def some_locks(text: str) -> str:
    """Locks of an ordering's own with a + between two, in their order; or none."""
    given = text.split("+")
    for name in given if text != "none" else ():
        if name not in OWN_LOCKS:
            raise problem(unknown("lock", name, ("none", *OWN_LOCKS)))
    return "+".join(name for name in OWN_LOCKS if name in given) or "none"


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
Steps = Annotated[tuple[Annotated[str, AfterValidator(a_step)], ...], Lenient]
Checks = Annotated[tuple[Annotated[str, one_of("check", ENTRY_CHECKS)], ...], Lenient, AfterValidator(each_once)]
Faults = Annotated[tuple[Annotated[str, one_of("fault", FAULTS)], ...], Lenient, AfterValidator(each_once)]
Policy = Annotated[str, AfterValidator(a_policy)]
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

TEXT = "text in quotes"


def whole(least: int, most: int, unit: str = "") -> FieldInfo:
    """A whole number in a range, both ends included."""
    of = f" of {unit}" if unit else ""
    return Field(ge=least, le=most, description=f"a whole number{of} from {least} to {most}")
