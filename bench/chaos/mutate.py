"""Bytes as a stranger may send them, and how a step with them ends, in a process of its own."""

import os
import random
import resource
from collections.abc import Callable
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


def end_of(step: Callable[[], object], refusals: tuple[type[Exception], ...]) -> str:
    """How a step ends in a child with bounds: `used`, the class of a refusal, `FAULT ...`."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _work(step, refusals, writer)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with open(reader, "rb") as said:
        return said.read().decode() or f"FAULT signal {os.waitstatus_to_exitcode(status)}"


def _work(
    step: Callable[[], object], refusals: tuple[type[Exception], ...], writer: int
) -> NoReturn:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    end = "used"
    try:
        step()
    except refusals as exc:
        end = type(exc).__name__
    except BaseException as exc:
        end = f"FAULT {type(exc).__name__}: {exc}"[:120]
    os.write(writer, end.encode(errors="replace"))
    os._exit(0)
