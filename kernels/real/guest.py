"""The readers' loop once more, for a guest of KVM: the same words, outcomes and order of loads as `read_pages()`.

x86-64 in user mode, so that a hypervisor without hardware paging runs it, too, instead of taking each instruction
apart. Memory is mapped one to one. The guest goes through the pages in turn; told to stop it stores where nothing is,
which is an exit of KVM_RUN (KVM_EXIT_MMIO).
"""

from kernels.layout import LINE_WORDS
from kernels.real.words import Places

CODE, TABLES, NOTHING, DATA, WORDS = 0x1000, 0x2000, 0x100000, 0x200000, 0x10000000  # guest physical
# Each line: what is encoded, then what it says. Offsets of a page's line: BEGUN 0, DONE 8, SHOWN 16.
LOOP = bytes.fromhex(
    "48ffc1"  # next:   inc  rcx                    the page
    "4c39d1"  #         cmp  rcx, r10
    "7208"  #           jb   page
    "31c9"  #           xor  ecx, ecx
    "49833f00"  #       cmp  qword [r15], 0         to be stopped, asked once a round
    "7578"  #           jne  stop
    "4889ca"  # page:   mov  rdx, rcx
    "48c1e207"  #       shl  rdx, 7
    "4c8b441708"  #     mov  r8, [rdi+rdx+8]        DONE first: on x86-64 each load acquires
    "4c8b0c17"  #       mov  r9, [rdi+rdx]          BEGUN
    "4889c8"  #         mov  rax, rcx
    "48c1e00c"  #       shl  rax, 12
    "488b0406"  #       mov  rax, [rsi+rax]         the content
    "4531e4"  #         xor  r12d, r12d             the outcome: FRESH
    "4885c0"  #         test rax, rax
    "7442"  #           jz   fault
    "4c8d6901"  #       lea  r13, [rcx+1]
    "49c1e528"  #       shl  r13, 40
    "4c29e8"  #         sub  rax, r13               the generation
    "4989c5"  #         mov  r13, rax
    "49c1ed28"  #       shr  r13, 40
    "752a"  #           jnz  other
    "4c39c8"  #         cmp  rax, r9
    "7313"  #           jae  fresh
    "4c39c0"  #         cmp  rax, r8
    "7303"  #           jae  window
    "41ffc4"  #         inc  r12d
    "4183c402"  # window: add r12d, 2               STALE_IN_WINDOW, or STALE_AFTER_DONE
    "f04c0fab641710"  # lock bts [rdi+rdx+16], r12  SHOWN
    "4aff04e3"  # fresh: inc qword [rbx+r12*8]
    "483944cd00"  #     cmp  [rbp+rcx*8], rax       the last generation seen
    "7496"  #           je   next
    "488944cd00"  #     mov  [rbp+rcx*8], rax
    "eb8f"  #           jmp  next
    "4183c403"  # other: add r12d, 3                USE_AFTER_REMOVE
    "41ffc4"  # fault:  inc  r12d                   FAULT
    "f04c0fab641710"  # lock bts [rdi+rdx+16], r12
    "4aff04e3"  #       inc  qword [rbx+r12*8]
    "e978ffffff"  #     jmp  next
    "498906"  # stop:   mov  [r14], rax
    "ebfb"  #           jmp  stop
)


def registers(where: Places, reader: int) -> dict[str, int]:
    """The guest's registers at its first instruction; all others are 0."""

    def at(word: int) -> int:
        return WORDS + 8 * word

    return {
        "rdi": at(where.page),
        "rsi": DATA,
        "rbx": at(where.reader + reader * LINE_WORDS),
        "rbp": at(where.seen + reader * where.seen_stride),
        "r10": where.pages,
        "r14": NOTHING,
        "r15": at(where.stop),
        "rip": CODE,
        "rflags": 2,
    }
