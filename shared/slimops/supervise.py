"""Become another program that dies with the process that started it (Linux).

    python supervise.py PARENT_PID PROGRAM ARGUMENT...

Asks the kernel for SIGTERM at the parent's death and then replaces itself by PROGRAM, which keeps
that wish. A separate program, for code between fork and exec of a threaded process is not safe;
only the standard library, for it is run by its path with `-I -S`.

The wish follows the parent's *thread* that started this: start it from the main thread.
Source: prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent_pid, program = int(sys.argv[1]), sys.argv[2]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the wish was made
        raise SystemExit(1)
    os.execv(program, [program, *sys.argv[3:]])


if __name__ == "__main__":
    main()
