"""A clock for what is drawn now and then."""


class Moments:
    """It stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        """As of `time`."""
        return self.now_s
