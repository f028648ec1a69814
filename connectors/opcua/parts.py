"""Many nodes in few requests: a server's own limit is found by halving and remembered; one bad node is found alone.

Pure but for awaiting; knows no OPC UA library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Sized
from typing import Final, TypeVar

from connectors.opcua.decode import BAD_DECODING_ERROR
from mines.errors import LinkLost, SourceError

_AT_ONCE: Final = 500  # project default

Item = TypeVar("Item")
Result = TypeVar("Result")
Block = TypeVar("Block", bound=Sized)


class TooMuch(SourceError):
    """The server finds one request, or its reply, too large; `status` is its word for it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"too much at once: {status:#010x}")
        self.status = status


class Undecodable(SourceError):
    """The reply to one request came and cannot be decoded."""


class Parts:
    """Requests for many items, `at_once` in one."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self.at_once = at_once

    async def ask(
        self,
        items: Sequence[Item],
        request: Callable[[Sequence[Item]], Awaitable[list[Result]]],
        refused: Callable[[int], Result],
    ) -> list[Result]:
        """A result for every item, in their order.

        Args:
            items: What to ask for.
            request: One request; raises TooMuch or Undecodable.
            refused: The result of an item that cannot even be asked for alone, from its StatusCode.
        Raises:
            LinkLost: a reply holds another number of results than was asked for.
        """
        blocks = await self.blocks(items, request, lambda _, status: [refused(status)])
        return [result for block in blocks for result in block]

    async def blocks(
        self,
        items: Sequence[Item],
        request: Callable[[Sequence[Item]], Awaitable[Block]],
        refused: Callable[[Item, int], Block],
    ) -> list[Block]:
        """As `ask`, but the results of each request stay together: blocks whose lengths add up to that of the items.

        Args:
            items: What to ask for.
            request: One request; raises TooMuch or Undecodable.
            refused: The block of an item that cannot even be asked for alone, from the item and its StatusCode.
        Raises:
            LinkLost: a reply holds another number of results than was asked for.
        """
        blocks: list[Block] = []
        done = 0
        while done < len(items):
            part = items[done : done + self.at_once]
            try:
                blocks += await self._narrowed(part, request, refused)
                done += len(part)
            except TooMuch as refusal:
                if len(part) == 1:
                    blocks.append(refused(part[0], refusal.status))
                    done += 1
                else:
                    self.at_once = len(part) // 2
        return blocks

    async def _narrowed(
        self,
        part: Sequence[Item],
        request: Callable[[Sequence[Item]], Awaitable[Block]],
        refused: Callable[[Item, int], Block],
    ) -> list[Block]:
        try:
            block = await request(part)
        except Undecodable:
            if len(part) == 1:
                return [refused(part[0], BAD_DECODING_ERROR)]
            half = len(part) // 2
            first = await self._narrowed(part[:half], request, refused)
            return first + await self._narrowed(part[half:], request, refused)
        if len(block) != len(part):
            raise LinkLost("wrong reply")
        return [block]
