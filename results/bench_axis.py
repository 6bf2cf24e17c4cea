"""Which figures a bench is about, and what they are called: batches are timed whole and counted by the page."""

from results.bench_record import Bench
from results.figures import BY_ID

# Of a sweep only these are shown: the others would be hundreds of rows.
SWEPT = ("p50_ns", "p99_ns", "reads_per_s", "out_of_guest_p50_ns")
# Of batches: what one takes, what that comes to in pages, and what it costs the vCPUs.
SWEPT_BATCHES = ("p50_ns", "shootdowns_per_s", "out_of_guest_share", "reads_per_s")
OF_BATCHES = {
    "p50_ns": "a batch, p50",
    "p90_ns": "a batch, p90",
    "p99_ns": "a batch, p99",
    "max_ns": "a batch, max",
    "shootdowns_per_s": "pages shot down/s",
    "track_retries": "TRACK BUSY retries a page",
    "stale_window_p50_ns": "legal stale window of a batch, p50",
}


def of_batches(bench: Bench) -> bool:
    """Whether its zappers take batches of pages down."""
    return bench.scenario.get("flow") == "batch"


def swept(bench: Bench) -> tuple[str, ...]:
    """The chief figures along this bench's sweep, four ids of `results.figures.FIGURES`."""
    return SWEPT_BATCHES if of_batches(bench) else SWEPT


def words(bench: Bench, figure: str) -> str:
    """What the figure of this id is called in this bench."""
    return (OF_BATCHES.get(figure) if of_batches(bench) else None) or BY_ID[figure].words
