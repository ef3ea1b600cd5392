"""Ends what the demo has started, however the demo itself ends.

Its standard input is a pipe from the demo, with a line "+ID" for each process group begun and "-ID"
for each that is over. When the pipe closes, the demo is gone (finished, Ctrl-C, even kill -9): the
groups that are left are killed.
"""

import os
import signal
import sys


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    main()
