"""Servers of the app for the tests, forked from a process that has imported it already.

    python -m tests.browser.forked

Reads one JSON object a line, `{"environment": {…}, "words": [of the command `streamlit`]}`, starts
that server in a process of its own and prints its id; ends with its input. Importing takes most of
the CPU time of a server that shows one page; `serving` starts one that imports for itself.
"""

import json
import os
import signal
import sys

from streamlit.web import cli

import app


def main() -> None:
    app.import_pages()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the servers
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _serve(**request)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def _serve(environment: dict[str, str], words: list[str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(cli.main(words, prog_name="streamlit"))


if __name__ == "__main__":
    main()
