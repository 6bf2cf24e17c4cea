"""What races: shared words, atomics, the step translator, the TDX module, KVM, vCPU and zapper."""
