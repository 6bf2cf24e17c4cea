"""The memory order of every access that others can see, word by word, held against a table that was read against the
sources: a release that was dropped, an acquire, or a full barrier, is another row.
"""

from collections import Counter

from kernels.language.tests.test_shipped_steps import SHIPPED
from kernels.tdx.protocol import barriers

# Word | stores and locked read-modify-writes (which are full barriers) | loads; each with how often the source has it.
TABLE = """
stage | 10 store_release | 1 load_acquire
owner | 14 store_release, 1 compare_exchange | 7 load_relaxed, 1 load_acquire
sept | 14 store_release, 2 compare_exchange, 11 fetch_and, 3 fetch_or | 22 load_acquire
ipi | 1 exchange, 3 fetch_or | 4 load_acquire
vm_bugged | 7 store_release | 8 load_acquire
requests | 2 fetch_and, 2 fetch_or | 1 load_acquire, 2 load_seq_cst
mode | 2 store_relaxed, 2 store_release, 1 store_seq_cst, 2 compare_exchange | 2 load_seq_cst
own_lock | 1 compare_exchange, 4 fetch_add |
gate | 1 store_release, 1 store_seq_cst, 2 fetch_add | 1 load_acquire
wait_for_sept_zap | 2 store_release, 1 store_seq_cst | 3 load_seq_cst
no_entry_lock | 1 compare_exchange, 1 fetch_add |
srcu | 1 store_release, 1 store_seq_cst, 1 compare_exchange | 1 load_acquire
memslot | 3 store_release, 1 store_seq_cst | 6 load_acquire
shared_spte | 1 exchange, 1 compare_exchange | 2 load_acquire
mmu_lock | 1 compare_exchange, 17 fetch_add |
slots_lock | 1 exchange, 4 compare_exchange, 4 fetch_add |
shared_owner | 3 store_release | 2 load_relaxed
flush_ipi | 1 store_release, 1 store_seq_cst | 2 load_acquire
runnable | 3 store_release, 1 store_seq_cst | 8 load_acquire, 1 load_seq_cst
vcpu_mutex | 4 compare_exchange, 6 fetch_add |
mirror | 19 store_release, 2 exchange, 7 compare_exchange | 6 load_acquire
kvm_lock | 1 compare_exchange, 1 fetch_add |
invalidate_lock | 2 compare_exchange, 2 fetch_add |
content | 5 store_release | 1 load_relaxed
tdr_lock | 6 exchange, 6 compare_exchange, 17 fetch_add |
td_state | 6 store_release | 7 load_acquire
bepoch | 4 store_release | 2 load_acquire
assoc_lpid | 3 store_release, 2 compare_exchange | 2 load_acquire
num_assoc_vcpus | 1 store_release, 4 fetch_add | 1 load_acquire
epoch_tracking | 1 store_release, 1 compare_exchange, 5 fetch_add | 10 load_acquire
tree_lock | 5 exchange, 4 compare_exchange, 8 fetch_add |
epoch_lock | 1 exchange, 1 compare_exchange, 4 fetch_add |
lp_tlb | 1 store_relaxed, 1 store_release | 1 load_relaxed
last_tdvpr | 2 store_release | 1 load_acquire
occupant | 2 store_release, 2 compare_exchange |
lp_ipi | 2 store_release | 1 load_acquire
dirty_log | 2 store_release, 1 compare_exchange | 2 load_acquire
dirty_lines | 2 store_release | 1 load_acquire
"""
# Store, then look at the other's word: of two who do, one must see the other, so both sides are full barriers.
STORE_THEN_LOOK = {
    "requests": "the kick against the vCPU that enters",
    "mode": "the same",
    "wait_for_sept_zap": "the flag of v6.16 against the vCPU that enters",
    "srcu": "a reader that enters against the memslots that it then reads",
    "memslot": "the other side",
    "runnable": "a TD that dies against the vCPU that enters",
    "flush_ipi": "a vCPU that is flushed against who asks whether it is in",
}


# Locked ones have but one order.
STORES = ("store_relaxed", "store_release", "store_seq_cst", "exchange", "compare_exchange")
ADDS = ("fetch_add", "fetch_and", "fetch_or")
LOADS = ("load_relaxed", "load_acquire", "load_seq_cst")


def told(counts: Counter[str]) -> str:
    """As it stands in the table."""
    return ", ".join(f"{counts[access]} {access}" for access in STORES + ADDS + LOADS if counts[access])


def test_every_access_has_the_memory_order_of_the_table() -> None:
    found: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for site in SHIPPED:
        _, _, word = site.text.partition(" ")
        if site.access and word:
            plain = site.access.startswith(("store", "load"))
            access = site.access if plain else site.access.removesuffix("_seq_cst")
            found.setdefault(word, (Counter(), Counter()))[access.startswith("load")][access] += 1

    rows = [tuple(cell.strip() for cell in row.split("|")) for row in TABLE.strip().splitlines()]

    assert [(word, told(stores), told(loads)) for word, (stores, loads) in found.items()] == rows


def test_what_is_acquired_is_released_and_who_stores_and_then_looks_has_a_full_barrier() -> None:
    for word, accesses in barriers().items():
        if "load_acquire" in accesses:
            assert any(access == "store_release" or access.endswith("seq_cst") for access in accesses), word
        if word in STORE_THEN_LOOK:
            assert any(access.endswith("seq_cst") and access != "load_seq_cst" for access in accesses), word
