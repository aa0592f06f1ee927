"""Between fork and the author's code: making a copy of the template a process of its own.

In this order, and why:

1. a session, so that it is a group of its own and no terminal's; a tag, so that its descendants
   are known; death with the template, so that a killed template leaves nothing;
2. an empty signal mask: handlers are the default's in the template already, which blocks instead;
3. no descriptors but 0, 1, 2, the link and the declared ones (an app that has left any open when it
   was imported is not forked: `left_open`);
4. (a spare waits here to be told who it is);
5. what the Child asks for: limits, user, directory, environment;
6. the author's code, and the report of how it ended.
"""

import _signal  # type: ignore[import-not-found]
import faulthandler
import gc
import io
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

from supervisor import link as links
from supervisor.channel import KIND, Channel, DescriptorsLost, pair
from supervisor.errors import Ignore, StartError, text_of
from supervisor.logs.marks import mark
from supervisor.logs.setup import share_on_fork, write_as
from supervisor.process import ending, settings, spare, target, tempdir
from supervisor.process import launch as launches
from supervisor.process.app import PACKAGE, LoadedApp
from supervisor.process.family import die_with, set_tag, template_of
from supervisor.process.messages import Spawn
from supervisor.process.spare import Told

#: What a template keeps blocked, and its children unblock when they can take it.
BLOCKED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)
#: Sent by a supervisor to a hung process: the stacks of all its threads are written.
DUMP_SIGNAL = signal.SIGRTMAX - 1
#: After so many calls Python has specialised a function's bytecode.
REHEARSALS = 12
#: Where the stacks of all threads go, on that signal and on a fault: a fork has its own file there.
_stacks = os.dup(2)


def enter(request: Spawn, fds: list[int], tag: int, app: LoadedApp | None) -> NoReturn:
    """Become the process that was asked for. Called in the child of a fork; never returns."""
    code = 1
    try:
        _own_session(tag)
        _signal.pthread_sigmask(signal.SIG_SETMASK, ())  # not signal's: it makes an Enum of each
        share_on_fork()
        ending.forget_hooks()
        code = _live(request, fds, app)
    except SystemExit:  # a stop signal met a spare that had got ready
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)


def _live(request: Spawn, fds: list[int], app: LoadedApp | None) -> int:
    """Go on as a child, at once or, as a spare, when it is known which."""
    end, stack, *rest = fds
    os.dup2(stack, _stacks, inheritable=False)
    keep_only([0, 1, 2, _stacks, end, *rest, *(app.shared if app else ())])
    gc.enable()
    sock = socket.socket(*KIND, fileno=end)
    if request.launch:
        told: Told | None = spare.told(sock, launches.decode(request.launch), rest)
    else:
        told = _wait_to_be_told(sock, request, app)
    if told is None:
        return 0
    _take_pipes(told)
    return _run(told, app)


def mark_pipes(incarnation: int) -> None:
    """Say in both log pipes that we write from here on. Waits for room, as any line does."""
    said = mark(os.getpid(), incarnation)
    for fd in (1, 2):
        os.write(fd, said)


def _take_pipes(told: Told) -> None:
    """Write from here on to the pipes of our slot."""
    for ours, pipe in enumerate(told.pipes, start=1):
        os.dup2(pipe, ours)
        os.close(pipe)
    if told.launch.marks:
        mark_pipes(told.launch.incarnation)


def _run(told: Told, app: LoadedApp | None) -> int:
    link = told.link
    links.install(link)
    try:
        run = told.run or _prepare(told.launch.kind, app)
        code = run(link)
    except Ignore as declined:
        link.ignore(text_of(declined))
        return 0
    except SystemExit as leaving:
        code = exit_code(leaving)
    except BaseException as error:
        _tell(error, link)
        return 1
    ending.finish()
    link.finished()
    return code


def _prepare(kind: launches.Kind, app: LoadedApp | None) -> target.Run:
    settings.apply(kind.settings)
    return target.prepare(kind, app)


def _tell(error: BaseException, link: links.WorkerLink) -> None:
    """Say which exception ends this process: to the supervisor, then to whoever reads the log."""
    text = "".join(traceback.format_exception(_authors_part(error)))
    link.failed(type(error).__name__, text_of(error), text)
    try:
        sys.stderr.write(text)
    except (AttributeError, OSError, ValueError):  # the author has closed or replaced it
        pass


def _authors_part(error: BaseException) -> BaseException:
    """Drop the frames of this package from the top of a traceback: they are nobody's concern."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        trace = trace.tb_next
    return error.with_traceback(trace) if trace is not None else error


def exit_code(leaving: SystemExit) -> int:
    """Return the exit code that a SystemExit asks for, as Python itself does."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    sys.stderr.write(f"{leaving.code}\n")
    return 1


def _own_session(tag: int) -> None:
    os.setsid()
    set_tag(tag)
    die_with(template_of(tag))  # not getppid: it may have died by now


def keep_only(fds: list[int]) -> None:
    """Close every descriptor but these."""
    last = -1
    for fd in sorted(fds):
        if fd > last + 1:
            os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


def _rehearse() -> None:
    """Go once through what comes later, without consequences.

    In a template, so that its forks find the bytecode specialised and the caches of types filled:
    to write to them would copy their pages. In a spare, which has the time to copy them ahead.
    """
    kind = launches.encode(launches.Kind(launches.Node("")))
    ours, theirs = pair()
    word = os.eventfd(1)
    with ours, theirs:
        channel: Channel[links.FromWorker] = Channel(theirs, links.FromWorker)
        channel.send(links.Inherit(), (word,))
        channel.send(links.Assign("", 0, kind, ahead=True), (1, 2))
        os.close(word)
        told = spare.wait(ours, None, None)
        assert told is not None
        _take_pipes(told)  # its output is what it was
        told.link.ready()
        write_as("", 0)


def _wait_to_be_told(sock: socket.socket, request: Spawn, app: LoadedApp | None) -> Told | None:
    """Wait, as a spare, for the launch; None when nobody needs it any more."""
    tempdir.prepare()
    kind: launches.Kind | None = None
    run: target.Run | None = None
    if request.kind:
        kind = launches.decode_kind(request.kind)
        try:
            run = _prepare(kind, app)
        except (OSError, LookupError, StartError):  # the child itself will say it
            return None
    if not request.at_once:
        _rehearse()
    return spare.wait(sock, kind, run)


def prepare() -> None:
    """Do in a template, once, what every fork would have to do."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.closed:  # or it is the author's
        sys.stdout.reconfigure(line_buffering=True)  # or a kill loses what is printed
    faulthandler.enable(file=_stacks, all_threads=True)
    faulthandler.register(DUMP_SIGNAL, file=_stacks, all_threads=True, chain=False)
    try:
        for _ in range(REHEARSALS):
            _rehearse()
    except (OSError, DescriptorsLost):  # there are none left: forks are refused, or go without
        pass


def _leave(code: int) -> NoReturn:
    """End without the template's own clean-up: its atexit hooks are not this process's."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)
