"""Going through what a process does before the author's code, without consequences.

A fork shares every page of its template, and the first write to one copies it: 2 to 4 µs each, most
of what a start takes. Python writes when it only reads: it counts references, caches what it has
looked up in types, and specialises bytecode that is run again. So a template does all of it a few
times before it forks: who is forked then finds the caches filled and the bytecode specialised, and
writes to 80 pages less. A spare, which has the time, does it once more and so copies what is left.
"""

import os
import signal

from supervisor import link as links
from supervisor.channel import Channel, DescriptorsLost, end_of, pair
from supervisor.declare.define import define
from supervisor.declare.tree import Child, Supervisor
from supervisor.logs.marks import mark
from supervisor.logs.setup import write_as
from supervisor.process import launch as launches
from supervisor.process import settings, spare, target, tempdir
from supervisor.process.app import LoadedApp
from supervisor.process.family import wake_with_parent

#: After so many calls Python has specialised a function's bytecode.
ENOUGH = 12
NAME = "rehearsal"


def rehearse() -> None:
    """Go through all that a fork of this template will do."""
    stop = signal.getsignal(signal.SIGTERM)
    tree = Supervisor(NAME, children=[Child(NAME, _nothing)])
    app = LoadedApp(NAME, tree, define(tree), "")
    plan = target.plan(launches.Kind(launches.Node(f"{NAME}/{NAME}"), app=NAME), app)
    try:
        for _ in range(ENOUGH):
            _begin()
            plan.arm()
            become(plan.run)
    except (OSError, DescriptorsLost):  # there are none left: forks are refused, or go without
        pass
    finally:
        signal.signal(signal.SIGTERM, stop or signal.SIG_DFL)


def _begin() -> None:
    """Do what makes a process of a fork, in so far as a template can do it to itself."""
    wake_with_parent()  # what it has asked for anyway
    settings.rehearse()
    tempdir.rehearse()


def become(run: target.Run | None = None) -> None:
    """Become a child, from the word that says which: its output stays what it was."""
    kind = launches.encode(launches.Kind(launches.Node("")))
    one, theirs = pair()
    ours = end_of(one.detach())
    word = os.eventfd(1)
    with ours, theirs:
        channel: Channel[links.FromWorker] = Channel(theirs, links.FromWorker)
        channel.send(links.Inherit(), (word,))
        channel.send(links.Assign("", 0, kind, ahead=True), (1, 2))
        os.close(word)
        told = spare.wait(ours, None, run)
        assert told is not None
        spare.take_pipes(told)
        mark(os.getpid(), 0)
        links.install(told.link)
        (told.run or _run)(told.link)
        links.install(None)


def _run(link: links.WorkerLink) -> int:
    write_as("", 0)
    link.ready(begun=False)
    return 0


def _nothing() -> None:
    """Be the author's code."""
