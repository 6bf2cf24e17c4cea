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
"""


def test_nobody_starts_before_the_line_is_released(script: Script) -> None:
    code = """
crew = Workers([[job(i, count(i))] for i in range(8)], go=lambda: bool(words[63]))
crew.start()
while crew.ready < 8:
    crew.wait(1)
time.sleep(0.1)
before = int(words[:8].sum())
words[63] = 1
crew.release()
codes = [ended.code for ended in crew.wait_for_end(30)]
print(before, words[:8].tolist(), codes, crew.alive)
crew.kill()
"""

    assert script(PROLOGUE + code) == "0 [1, 1, 1, 1, 1, 1, 1, 1] [0, 0, 0, 0, 0, 0, 0, 0] {}\n"


def test_a_line_that_opens_without_the_word_starts_nobody(script: Script) -> None:
    code = """
crew = Workers([[job(i, count(i))] for i in range(2)], go=lambda: bool(words[63]))
crew.start()
while crew.ready < 2:
    crew.wait(1)
crew.release()
print([ended.code for ended in crew.wait_for_end(30)], words.any())
crew.kill()
"""

    assert script(PROLOGUE + code) == "[71, 71] False\n"


def test_threads_of_one_process_start_together_and_end_together(script: Script) -> None:
    code = """
crew = Workers([[job(i, count(i)) for i in range(4)]], go=lambda: True)
crew.start()
while crew.ready < 4:
    crew.wait(1)
crew.release()
print([str(ended).partition(" (")[0] for ended in crew.wait_for_end(30)], words[:4].tolist(), crew.size)
crew.kill()
"""

    assert script(PROLOGUE + code) == "['threads of 4 actors'] [1, 1, 1, 1] 4\n"


def test_a_worker_that_fails_says_why_in_one_line(script: Script) -> None:
    code = """
crew = Workers([[job(0, lambda: 1 // 0)]], go=lambda: True)
crew.start()
crew.release()
ended, = crew.wait_for_end(30)
print(ended.code, flush=True)
crew.kill()
"""

    said = script(PROLOGUE + code)
    assert sorted(said.splitlines()) == ["70", "job 0: ZeroDivisionError: integer division or modulo by zero"]


def test_a_worker_runs_nothing_that_the_parent_keeps_for_its_end(script: Script) -> None:
    code = """
atexit.register(lambda: print("the end", flush=True))
sys.stdout.write("buffered, ")
crew = Workers([[job(i, count(i))] for i in range(3)], go=lambda: True)
crew.start()
crew.release()
crew.wait_for_end(30)
crew.kill()
"""

    assert script(PROLOGUE + code) == "buffered, the end\n"


def test_what_a_crew_opened_is_closed_again(script: Script) -> None:
    code = """
Workers([[job(0, count(0))]], go=lambda: True).kill()
before = len(os.listdir("/proc/self/fd"))
crew = Workers([[job(i, count(i))] for i in range(5)], go=lambda: True)
crew.start()
crew.kill()
crew.kill()
print(len(os.listdir("/proc/self/fd")) - before, words.any())
"""

    assert script(PROLOGUE + code) == "0 False\n"


def test_when_no_more_processes_are_given_those_that_started_are_reaped(script: Script) -> None:
    code = """
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
"""

    assert script(PROLOGUE + code) == (
        "no process for job 3, after 3 workers: Resource temporarily unavailable; take fewer --vcpus {}\n"
    )


def test_a_worker_begins_where_it_may_at_first_and_is_moved_to_its_own_cpu_when_the_crew_settles(
    script: Script,
) -> None:
    code = """
import psutil

def stay():
    while not words[0]:
        time.sleep(0.01)
    return 0

jobs = [Job("moves", stay, cpus[:1], cpus), Job("stays", stay, cpus[-1:])]
crew = Workers([[job] for job in jobs], go=lambda: bool(words[63]))
crew.start()
while crew.ready < 2:
    crew.wait(1)
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
"""

    assert script(PROLOGUE + code) == "True\nTrue\n[0, 0]\n"


def test_a_crew_settles_though_one_of_it_has_ended(script: Script) -> None:
    code = """
crew = Workers([[Job("ends", count(0), cpus[:1], cpus)]], go=lambda: bool(words[63]))
crew.start()
words[63] = 1
crew.release()
print([ended.code for ended in crew.wait_for_end(30)])
crew.settle()
crew.kill()
"""

    assert script(PROLOGUE + code) == "[0]\n"
