"""The command line and the processes: who runs a race."""
