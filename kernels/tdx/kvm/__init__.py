"""The host: KVM's kick, entry, shootdown, faults and memslots."""
