"""Between fork and the author's code: making a copy of the template a process of its own.

In this order, and why:

1. a session, so that it is a group of its own and no terminal's; a tag, so that its descendants
   are known; death with the template, so that a killed template leaves nothing;
2. an empty signal mask: handlers are the default's in the template already, which blocks instead;
3. no descriptors but 0, 1, 2, the link, the file for stacks and the declared ones (an app that has
   left any open when it was imported is not forked: `left_open`);
4. (a spare waits here to be told who it is);
5. what the Child asks for: limits, user, directory, environment;
6. the author's code, and the report of how it ended.

What cannot be rehearsed (`supervisor.process.rehearsal`) calls functions by names of this module:
to look one up in another writes to six pages, each of which has to be copied then.
"""

import faulthandler
import io
import os
import signal
import socket
import sys
import traceback
from _signal import pthread_sigmask  # type: ignore[import-not-found]
from gc import enable as enable_gc
from os import closerange, dup2, setsid, sysconf
from typing import NoReturn

from supervisor.channel import end_of
from supervisor.errors import Ignore, StartError, text_of
from supervisor.link import WorkerLink, install
from supervisor.logs.setup import share_on_fork
from supervisor.process import rehearsal, settings, spare, target, tempdir
from supervisor.process.app import PACKAGE, LoadedApp
from supervisor.process.ending import finish, forget_hooks
from supervisor.process.family import die_with
from supervisor.process.launch import decode
from supervisor.process.messages import Spawn
from supervisor.process.spare import Told

#: What a template keeps blocked, and its children unblock when they can take it.
BLOCKED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)
_SETMASK = int(signal.SIG_SETMASK)
#: Sent by a supervisor to a hung process: the stacks of all its threads are written.
DUMP_SIGNAL = signal.SIGRTMAX - 1
#: Where the stacks of all threads go, on that signal and on a fault: a fork has its own file there.
_stacks = os.dup(2)


def enter(request: Spawn, fds: list[int], template: int, app: LoadedApp | None) -> NoReturn:
    """Become the process that was asked for. Called in the child of a fork; never returns.

    ``template``: the pid of that which has forked it; not from getppid: it may have died by now.
    """
    code = 1
    try:
        setsid()
        die_with(template)
        pthread_sigmask(_SETMASK, ())  # not signal's: it makes an Enum of each
        share_on_fork()
        forget_hooks()
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
    dup2(stack, _stacks, False)
    keep_only([0, 1, 2, _stacks, end, *rest, *(app.shared if app else ())])
    enable_gc()
    sock = end_of(end)
    if request.launch:
        told: Told | None = spare.told(sock, decode(request.launch), rest)
    else:
        told = _wait_to_be_told(sock, request, app)
    if told is None:
        return 0
    spare.take_pipes(told)
    return _run(told, app)


def _run(told: Told, app: LoadedApp | None) -> int:
    link = told.link
    install(link)
    try:
        run = told.run or _prepare(target.plan(told.launch.kind, app))
        code = run(link)
    except Ignore as declined:
        link.ignore(text_of(declined))
        return 0
    except SystemExit as leaving:
        code = exit_code(leaving)
    except BaseException as error:
        _tell(error, link)
        return 1
    finish()
    link.finished()
    return code


def _prepare(plan: target.Plan) -> target.Run:
    settings.apply(plan.kind.settings)
    plan.arm()
    return plan.run


def _tell(error: BaseException, link: WorkerLink) -> None:
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


def keep_only(fds: list[int]) -> None:
    """Close every descriptor but these."""
    last = -1
    for fd in sorted(fds):
        if fd > last + 1:
            closerange(last + 1, fd)
        last = fd
    closerange(last + 1, sysconf("SC_OPEN_MAX"))


def _wait_to_be_told(sock: socket.socket, request: Spawn, app: LoadedApp | None) -> Told | None:
    """Wait, as a spare, for the launch; None when nobody needs it any more."""
    tempdir.prepare()
    plan: target.Plan | None = None
    run: target.Run | None = None
    if request.kind:
        try:
            plan = target.planned(request.kind, app)
            run = _prepare(plan)
        except (OSError, LookupError, StartError):  # the child itself will say it
            return None
    if not request.at_once:
        rehearsal.become()
    return spare.wait(sock, plan and plan.kind, run)


def prepare() -> None:
    """Do in a template, once, what every fork would have to do."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.closed:  # or it is the author's
        sys.stdout.reconfigure(line_buffering=True)  # or a kill loses what is printed
    faulthandler.enable(file=_stacks, all_threads=True)
    faulthandler.register(DUMP_SIGNAL, file=_stacks, all_threads=True, chain=False)
    rehearsal.rehearse()


def _leave(code: int) -> NoReturn:
    """End without the template's own clean-up: its atexit hooks are not this process's."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)
