"""What compiled code alone calls is compiled once, and leaves no machine code."""

import pytest
from numba import int64, njit

from kernels.language.inlined import inlined, inner


@pytest.mark.parametrize("mark", [inner, inlined])
def test_whatever_constants_and_truth_values_callers_pass_it_is_compiled_once(mark):
    @mark
    def less(one, other):
        return one - other

    @njit
    def entry(number):
        return less(number, 3) * 100 + less(7, number > 4) * 10 + less(number, number)

    assert entry(9) == 660
    assert list(less.overloads) == [(int64, int64)]


@pytest.mark.parametrize("mark", [inner, inlined])
def test_it_has_no_machine_code_of_its_own(mark):
    @mark
    def twice(number):
        return number + number

    @njit
    def entry(number):
        return twice(number)

    entry(1)
    library = twice.overloads[(int64,)].library

    assert library.get_pointer_to_function(twice.overloads[(int64,)].fndesc.mangled_name) == 0
    assert library.get_llvm_str().count("ret i32 0") == 1
