"""Scenarios of the kind `real`: shootdowns by the kernel at hand, in the place of the model's."""
