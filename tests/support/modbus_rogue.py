"""A Modbus TCP device that draws its manners: properly, late, cut short, wrong in every field, silent, hanging up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from modbus_devices import Connection, Request

BAD_MANNERS = (
    "exception",
    "silent",
    "late",
    "held back",
    "cut short",
    "fewer registers",
    "more registers",
    "other function",
    "other unit",
    "other transaction",
    "transaction 0",
    "twice",
    "hangs up",
    "resets",
)


class Rogue:
    """A device that draws its manners, half of them good; `late` is around this timeout [s]."""

    def __init__(self, seed: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.did: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._held: list[bytes] = []

    async def __call__(self, request: Request, connection: Connection) -> None:
        manner = self._random.choice(BAD_MANNERS) if self._random.random() < 0.5 else "good"
        self.did[manner] += 1
        held, self._held = b"".join(self._held), []
        match manner:
            case "good":
                connection.send(held + request.reply())
            case "exception":
                connection.send(request.refusal(self._random.choice([1, 2, 3, 4, 6, 10, 11])))
            case "late":
                await asyncio.sleep(self._timeout_s * self._random.uniform(0.8, 1.6))
                connection.send(request.reply())
            case "held back":
                self._held = [held, request.reply()]
            case "cut short":
                reply = request.reply()
                connection.send(reply[: self._random.randrange(1, len(reply))])
            case "fewer registers":
                connection.send(request.reply(request.data()[2:]))
            case "more registers":
                connection.send(request.reply(b"\0\1" + request.data()[:250]))
            case "other function":
                connection.send(request.frame(bytes([7 - request.function, 2 * request.count]) + request.data()))
            case "other unit":
                connection.send(request.frame(request.reply()[7:], unit=request.unit + 1))
            case "other transaction":
                connection.send(request.frame(request.reply()[7:], transaction=request.transaction - 1))
            case "transaction 0":
                connection.send(request.frame(request.reply()[7:], transaction=0))
            case "twice":
                connection.send(request.reply() * 2)
            case "hangs up":
                connection.close()
            case "resets":
                connection.send(request.reply()[:9])
                connection.reset()
