"""Rehearsal: a template that has gone through a start is what it was."""

import json
import subprocess
import sys

SCRIPT = """
import ctypes, json, os, signal
from supervisor.process import rehearsal
from supervisor.process.family import wake_with_parent

def state():
    umask = os.umask(0)
    os.umask(umask)
    death = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(death))  # PR_GET_PDEATHSIG
    with open("/proc/self/oom_score_adj") as file:
        score = file.read()
    streams = [os.fstat(fd).st_ino for fd in (0, 1, 2)]
    descriptors = sorted(os.listdir("/proc/self/fd"))
    handlers = [repr(signal.getsignal(signum)) for signum in range(1, 32)]
    blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    where = os.getcwd(), os.getsid(0), os.getpgid(0)
    files = streams, descriptors, where
    return [umask, death.value, score, files, handlers, blocked, dict(os.environ)]

wake_with_parent()  # as a template has it
os.umask(0o027)
before = state()
rehearsal.rehearse()
after = state()
print(json.dumps([before, after]))
"""


def test_a_rehearsal_has_no_consequences() -> None:
    """Umask, death signal, OOM score, streams, descriptors, handlers, environment stay."""
    run = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=30)
    before, after = json.loads(done.stdout)
    assert after == before
    assert before[0] == 0o027
    assert done.stderr == ""
