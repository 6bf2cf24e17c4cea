"""The TDX module: SEAMCALLs, their locks and their statuses."""
