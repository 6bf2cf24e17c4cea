"""What a story says of this protocol beside its spans: guest reads and walks, the TLB, why a guest was left."""

from functools import cache
from typing import Any

from kernels.language.parse import flat, subs
from kernels.language.syntax import Site, Step, Steps
from kernels.layout import row_at
from kernels.race.ring import Entry, Mark
from kernels.search.schedule import Schedule
from kernels.story.events import Statuses
from kernels.story.recollect import Told, paths, times
from kernels.tdx.bits import WRITABLE, content_of, generation_of, is_hit, translation
from kernels.tdx.counters import STATUS_COUNTS, STATUSES
from kernels.tdx.guest import EPT_VIOLATION, IPI, TICK, WRITE_VIOLATION
from kernels.tdx.outcomes import Outcome
from kernels.tdx.parts.mmio import PENDING_VIOLATION, SHARED_VIOLATION, VMCALL
from kernels.tdx.parts.zero_step import PRIORITY_TIMEOUT
from kernels.tdx.spans import CPU_WALK, GUEST_READ, GUEST_WRITE
from kernels.tdx.statuses import LEAF_NAMES, NAMES, PLACE_OF_STATUS, Status
from kernels.tdx.words import VCPU, lp_tlb, occupant, owner, tlb

LEFT = {
    IPI: "left for an IPI",
    TICK: "left for the host's tick",
    EPT_VIOLATION: "left for an EPT violation",
    SHARED_VIOLATION: "left for an EPT violation on a shared page",
    VMCALL: "left by TDG.VP.VMCALL",
    PENDING_VIOLATION: "left for an EPT violation on a pending page",
    WRITE_VIOLATION: "left for an EPT violation of a write",
    PRIORITY_TIMEOUT: "left as the host's priority lasted",
}


def status_name(code: int) -> str:
    return NAMES[next((Status(place) for known, place in PLACE_OF_STATUS if known == code), Status.OTHER)]


STATUSES_TOLD = Statuses(STATUS_COUNTS, STATUSES, LEAF_NAMES, NAMES, status_name, NAMES[Status.SUCCESS])


def says(run: Schedule, site: Site, actor: str, word: int) -> str:
    """What a guest's read or its CPU's walk has found; nothing of any other step."""
    if site.says not in (GUEST_READ, GUEST_WRITE, CPU_WALK):
        return ""
    found = row_at(run.lay, word)
    name = found[0].name if found else ""
    if site.says == CPU_WALK:
        return "walks the shared EPT" if name == "shared_spte" else "walks the S-EPT"
    does = "writes to" if site.says == GUEST_WRITE else "reads"
    return _touched(run, actor, word, does, shared=name == "shared_owner")


def _touched(run: Schedule, actor: str, word: int, does: str, *, shared: bool) -> str:
    """A guest's access to the page that this word is of, by what the TLB holds: the two have just been compared."""
    lay, words = run.lay, run.words
    gpa = (word - (lay.shared_owner if shared else lay.owner)) // lay.page_stride
    number = gpa + lay.pages if shared else gpa
    held = int(words[_entry(run, run.actor(actor).index, number)])
    page = f"shared page {gpa}" if shared else f"page {gpa}"
    if does == "writes to" and is_hit(held, number) and not held & WRITABLE:
        return f"{does} {page}: the TLB does not let it"
    if held & ~WRITABLE == translation(number, int(words[word])):
        return f"{does} {page}: fresh"
    if is_hit(held, number):
        return f"{does} {page} through hpa {generation_of(content_of(held))}: not current"
    return f"{does} {page}: not in the TLB"


def _entry(run: Schedule, vcpu: int, gpa: int) -> int:
    """The TLB entry for a guest page: the vCPU's own, or that of the processor it runs on."""
    for lp in range(run.lay.lps):
        if run.words[occupant(run.lay, lp)] == vcpu + 1:
            return lp_tlb(run.lay, lp, gpa)
    return tlb(run.lay, vcpu, gpa)


def _outcome(told: Told, entry: Entry) -> None:
    """Of the call that has just ended in an error, of a TD exit, or of a guest read."""
    last = told.last.get(entry.actor)
    if not told.ended and (last is None or told.events[last].function != "td_exit"):
        site = guest_site(CPU_WALK if entry.word == Outcome.fault else GUEST_READ, told.protocol.actors[VCPU])
        word = owner(told.lay, entry.value)
        access = told.access(word, told.known[word], told.known[word]) if word in told.known else None
        told.append(entry, site, access, ", ".join(filter(None, [f"reads page {entry.value}", times(entry)])))
    told.outcome(entry)


def _own(told: Told, entry: Entry) -> None:
    """A TLB fill is an event; those of other pages than the one at hand are counted in one."""
    found = row_at(told.lay, entry.word)
    if found is None or found[0].name != "tlb":
        told.own(entry)
        return
    access, walk = _access(told, entry), guest_site(CPU_WALK, told.protocol.actors[VCPU])
    if access.after.startswith(f"page {told.page} "):
        told.append(entry, walk, None, f"fills {access.after}")
        told.change(told.last[entry.actor], own=(access,))
        return
    before = told.counted.get(entry.actor, 0)
    if not before:
        told.append(entry, walk, None, "")
    told.counted[entry.actor] = before + 1
    pages = "a page" if before == 0 else f"{before + 1} pages"
    told.change(told.last[entry.actor], says=f"fills its TLB with {pages}")


def _access(told: Told, entry: Entry) -> Any:
    return told.access(entry.word, told.known.get(entry.word, entry.value), entry.value)


def _flushed(told: Told, entry: Entry) -> None:
    told.change(told.last.get(entry.actor), says="drops every translation of its TLB")


def _left(told: Told, entry: Entry) -> None:
    """Told behind the exit: of the last TD exit of this vCPU."""
    for place in range(len(told.events) - 1, -1, -1):
        if told.events[place].actor == entry.actor and told.events[place].function == "td_exit":
            told.change(place, says=LEFT[entry.value])
            return


RETOLD = {Mark.OUTCOME: _outcome, Mark.OWN: _own, Mark.FLUSHED: _flushed, Mark.LEFT: _left}


@cache
def guest_site(says: str, vcpu: Steps) -> Site:
    """Where a vCPU's guest reads a page first, or where its CPU's walk comes to the page's own entry."""
    functions = {one.name: one for one in subs(vcpu)}
    for name in paths(vcpu):
        steps = [step for step in flat(functions[name].body) if isinstance(step, Step) and step.site.says == says]
        if steps:
            return steps[-1 if says == CPU_WALK else 0].site
    raise LookupError(f"{vcpu.name}: no step says {says}")
