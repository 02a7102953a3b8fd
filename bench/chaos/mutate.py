"""Bytes as a stranger may send them, and how a step with them ends, in a process of its own."""

import os
import random
import resource
from collections.abc import Callable, Sequence
from typing import NoReturn

ADDRESS_SPACE = 6 * 2**30  # bytes
CPU_SECONDS = 40


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Return bytes with a few of them changed, cut off, doubled, inserted or removed.

    Half of the changes hit the first 45 bytes: the header, and the first section's.
    """
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        if not changed:
            break
        at = dice.randrange(min(len(changed), dice.choice((45, len(changed)))))
        match dice.randrange(7):
            case 0:
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                changed[at] = dice.choice((0, 1, 127, 128, 255))
            case 2:
                changed[at : at + 8] = dice.randbytes(min(8, len(changed) - at))
            case 3:
                del changed[at:]
            case 4:
                del changed[at : at + dice.randrange(1, 9)]
            case 5:
                changed[at:at] = changed[at : at + dice.randrange(1, 16)]
            case _:
                changed[at:at] = dice.randbytes(dice.randrange(1, 9))
    return bytes(changed)


def ends_of(
    steps: Sequence[Callable[[], object]], refusals: tuple[type[Exception], ...]
) -> list[str]:
    """How steps end in children with bounds: `used`, the class of a refusal, `FAULT ...`.

    One child takes them one after another; after one that ends it the next takes the rest.
    """
    ends: list[str] = []
    while len(ends) < len(steps):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            _work(steps[len(ends) :], refusals, writer)
        os.close(writer)
        with open(reader, "rb") as said:
            ends += said.read().decode().splitlines()
        _, status = os.waitpid(child, 0)
        if status:
            ends.append(f"FAULT signal {os.waitstatus_to_exitcode(status)}")
    return ends


def _work(
    steps: Sequence[Callable[[], object]], refusals: tuple[type[Exception], ...], writer: int
) -> NoReturn:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for step in steps:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        end = "used"
        try:
            step()
        except refusals as exc:
            end = type(exc).__name__
        except BaseException as exc:
            end = " ".join(f"FAULT {type(exc).__name__}: {exc}".split())[:120]
        os.write(writer, end.encode(errors="replace") + b"\n")
    os._exit(0)
