"""Faults put into a script as a user runs it: with this folder on PYTHONPATH, every Python reads it first.

FAULT is `signal at folder`: the process that was started first is sent the signal just before the `at`-th act
(an opening for writing, a replacement, a removal) on a file below the folder, its own or a child's of it.
CLOCK is `at seconds`: so many seconds after a process began, its wall clock jumps so far.
"""

import itertools
import os
import sys
import time

ACTS = {"open", "os.rename", "os.remove"}
first = int(os.environ.setdefault("FIRST", str(os.getpid())))

if fault := os.environ.get("FAULT"):
    number, at, folder = fault.split(maxsplit=2)
    acts = itertools.count(1)

    def hook(event, arguments):
        if event not in ACTS or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if next(acts) == int(at):
            os.kill(first, int(number))
            if os.getpid() != first:  # so that the act is not done
                time.sleep(60)

    sys.addaudithook(hook)

if clock := os.environ.get("CLOCK"):
    at, seconds = map(float, clock.split())
    began, true, gmtime, localtime = time.monotonic(), time.time, time.gmtime, time.localtime

    def jumped(now=time.monotonic):
        return true() + (seconds if now() - began >= at else 0)

    time.time = jumped
    time.gmtime = lambda when=None: gmtime(jumped() if when is None else when)
    time.localtime = lambda when=None: localtime(jumped() if when is None else when)
