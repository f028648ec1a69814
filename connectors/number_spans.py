"""Numbers as a person writes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def spans_text(numbers: Sequence[int]) -> str:
    """Whole numbers in rising order with stretches drawn together: `1-4, 7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
