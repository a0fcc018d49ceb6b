"""The process that quick servers are forked from. Workers import this module too, as the main one
of their server, so it imports late."""

import json
import os
import signal
import sys


def main() -> None:
    """Fork a server for each line of standard input."""
    from reelsplit_server import composition
    from reelsplit_server import main as server

    assert composition
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            for ours, given in ((0, null), (1, null), (2, log)):
                os.dup2(given, ours)
            os.environ.clear()
            os.environ.update(order["environment"])
            sys.exit(server.main(order["arguments"]))
        print(pid, flush=True)


if __name__ == "__main__":
    main()
