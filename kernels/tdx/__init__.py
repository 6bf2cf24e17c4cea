"""The protocol: the TDX module, KVM, and what a machine can have beside the bare shootdown."""
