"""What a machine can have beside the bare shootdown, one file each."""
