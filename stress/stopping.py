"""The signals that ask for an end. They are heeded before anything large is imported, so nothing is here."""

import signal

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOTHING_MEASURED = "interrupted, nothing was measured"
