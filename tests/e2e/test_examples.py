"""Each example does what its first lines promise."""

import os
import socket
import urllib.request

from tests.e2e.running import running


def test_hello_crashes_is_restarted_and_gives_up() -> None:
    """The worker crashes four times within five seconds; then the app ends with exit code 70."""
    with running("examples.hello:tree") as app:
        app.event("reached maximum restart intensity")
        assert app.process.wait(10) == 70
    greetings = {r["event"] for r in app.records if str(r["event"]).startswith("hello from")}
    assert len(greetings) == 4


def test_a_poisonous_order_takes_no_other_with_it() -> None:
    """All orders but number 7 are charged, each in its first attempt or after an innocent kill."""
    with running("examples.orders:tree") as app:
        charged: set[int] = set()
        while len(charged) < 19:
            charged.add(app.until(lambda r: r.get("order") not in charged | {None})["order"])
        assert charged == set(range(1, 21)) - {7}
        assert app.end() == 0


def test_the_web_server_answers_after_each_kill() -> None:
    """A killed server process is replaced, and the port goes on answering."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running("examples.web:tree", PORT=str(port)) as app:
        app.event("up")
        killed = ask(port)
        os.kill(killed, 9)
        app.event("child terminated")
        assert ask(port) != killed
        assert app.end() == 0


def ask(port: int) -> int:
    """Return the pid of the process that answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return int(answer.read().split()[-1])


def test_the_chaos_monkey_counts_what_it_killed() -> None:
    """Sleepers are killed and restarted, and the monkey says how many when it is stopped."""
    with running("examples.chaos_monkey:tree") as app:
        app.event("child terminated")
        assert app.end() == 0
        app.event("chaos: killed")
