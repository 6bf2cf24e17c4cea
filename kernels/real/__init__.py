"""Real TLB shootdowns by the Linux at hand: who reads pages, and who takes them away. No model, and no TDX."""
