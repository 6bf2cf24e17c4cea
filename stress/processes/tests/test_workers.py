import pytest

from stress.tests.command import Script

# A process of its own, since a test's process has threads.
pytestmark = pytest.mark.processes

PROLOGUE = """
import atexit, os, sys, time
from stress.processes.workers import Workers
from stress.processes.worker import Job
from stress.processes.shared_words import shared_words

words = shared_words(64)
cpus = tuple(sorted(os.sched_getaffinity(0)))

def job(number, run):
    return Job(f"job {number}", run, cpus)

def count(at):
    def run():
        words[at] += 1
        return 0
    return run

def lined_up(jobs):
    crew = Workers(jobs, go=lambda: bool(words[63]))
    crew.start()
    while crew.ready < crew.size:
        crew.wait(1)
    return crew
"""


# By what is shown: what a script does, and what it says.
CREWS = {
    "nobody starts before the line is released": (
        """
crew = lined_up([[job(i, count(i))] for i in range(8)])
time.sleep(0.1)
before = int(words[:8].sum())
words[63] = 1
crew.release()
codes = [ended.code for ended in crew.wait_for_end(30)]
print(before, words[:8].tolist(), codes, crew.alive)
crew.kill()
""",
        "0 [1, 1, 1, 1, 1, 1, 1, 1] [0, 0, 0, 0, 0, 0, 0, 0] {}\n",
    ),
    "a line that opens without the word starts nobody": (
        """
crew = lined_up([[job(i, count(i))] for i in range(2)])
crew.release()
print([ended.code for ended in crew.wait_for_end(30)], words.any())
crew.kill()
""",
        "[71, 71] False\n",
    ),
    "threads of one process start together and end together": (
        """
crew = lined_up([[job(i, count(i)) for i in range(4)]])
words[63] = 1
crew.release()
print([str(ended).partition(" (")[0] for ended in crew.wait_for_end(30)], words[:4].tolist(), crew.size)
crew.kill()
""",
        "['threads of 4 actors'] [1, 1, 1, 1] 4\n",
    ),
    "a worker runs nothing that the parent keeps for its end": (
        """
atexit.register(lambda: print("the end", flush=True))
sys.stdout.write("buffered, ")
crew = Workers([[job(i, count(i))] for i in range(3)], go=lambda: True)
crew.start()
crew.release()
crew.wait_for_end(30)
crew.kill()
""",
        "buffered, the end\n",
    ),
    "what a crew opened is closed again": (
        """
Workers([[job(0, count(0))]], go=lambda: True).kill()
before = len(os.listdir("/proc/self/fd"))
crew = Workers([[job(i, count(i))] for i in range(5)], go=lambda: True)
crew.start()
crew.kill()
crew.kill()
print(len(os.listdir("/proc/self/fd")) - before, words.any())
""",
        "0 False\n",
    ),
    "when no more processes are given those that started are reaped": (
        """
from stress.errors import HarnessFault
real, forks = os.fork, iter(range(3))
def fork():
    if next(forks, None) is None:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return real()
os.fork = fork
crew = Workers([[job(i, count(i))] for i in range(5)], go=lambda: True)
try:
    crew.start()
except HarnessFault as fault:
    print(fault, crew.alive)
""",
        "no process for job 3, after 3 workers: Resource temporarily unavailable; take fewer --vcpus {}\n",
    ),
    "a worker begins where it may at first and is moved to its own CPU when the crew settles": (
        """
import psutil

def stay():
    while not words[0]:
        time.sleep(0.01)
    return 0

jobs = [Job("moves", stay, cpus[:1], cpus), Job("stays", stay, cpus[-1:])]
crew = lined_up([[job] for job in jobs])
words[63] = 1
crew.release()

def where():
    return [tuple(psutil.Process(crew.alive[job.name]).cpu_affinity()) for job in jobs]

print(where() == [cpus, cpus[-1:]])
crew.settle()
print(where() == [cpus[:1], cpus[-1:]])
words[0] = 1
print([ended.code for ended in crew.wait_for_end(30)])
crew.kill()
""",
        "True\nTrue\n[0, 0]\n",
    ),
    "a crew settles though one of it has ended": (
        """
crew = Workers([[Job("ends", count(0), cpus[:1], cpus)]], go=lambda: bool(words[63]))
crew.start()
words[63] = 1
crew.release()
print([ended.code for ended in crew.wait_for_end(30)])
crew.settle()
crew.kill()
""",
        "[0]\n",
    ),
}


@pytest.mark.parametrize(("code", "said"), CREWS.values(), ids=CREWS)
def test_a_crew_starts_and_ends_together(script: Script, code: str, said: str) -> None:
    assert script(PROLOGUE + code) == said


def test_a_worker_that_fails_says_why_in_one_line(script: Script) -> None:
    code = """
crew = Workers([[job(0, lambda: [][1])]], go=lambda: True)
crew.start()
crew.release()
ended, = crew.wait_for_end(30)
print(ended.code, flush=True)
crew.kill()
"""

    said = script(PROLOGUE + code)
    assert sorted(said.splitlines()) == ["70", "job 0: IndexError: list index out of range"]
