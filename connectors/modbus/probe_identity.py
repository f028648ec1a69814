"""What a device says of itself: by 43/14, object by object, or as a text in registers. Pure.

Source: MODBUS Application Protocol V1.1b3, 6.21, table of object ids.
"""

from __future__ import annotations

from typing import Final

from connectors.modbus.codec import SHORT_ORDERS
from connectors.modbus.identification import parse_part

IDENTITY_NAMES: Final = (
    "vendor", "product_code", "revision", "vendor_url", "product_name", "model_name", "user_application",
)  # fmt: skip
"""Of objects 0 to 6."""


def identity_of(payload: bytes) -> dict[str, str] | None:
    """The objects of a reply by name, those without a name as `object_N`; None where they cannot be read.

    Args:
        payload: The reply behind the MEI type.
    """
    part = parse_part(payload)
    if part is None:
        return None
    found, at = {}, 0
    for _ in range(part.count):
        number, size = part.objects[at], part.objects[at + 1]
        name = IDENTITY_NAMES[number] if number < len(IDENTITY_NAMES) else f"object_{number}"
        found[name] = _printable(part.objects[at + 2 : at + 2 + size])
        at += 2 + size
    return found


def text_of(payload: bytes, byte_order: str = "AB") -> str:
    """What registers hold as text, two characters each: how devices without 43/14 say what they are.

    Args:
        payload: Data bytes of a fitting reply, two a register.
        byte_order: AB, the first character in the upper byte; or BA.
    Returns:
        Up to the first NUL, without blanks at its ends; what is no printable ASCII as \\xNN.
    Raises:
        ValueError: no such order, or half a register.
    """
    if byte_order not in SHORT_ORDERS or len(payload) % 2:
        raise ValueError(f"no text in {len(payload)} bytes of order {byte_order!r}")
    if byte_order == "BA":
        payload = bytes(payload[at ^ 1] for at in range(len(payload)))
    return "".join(chr(c) if 32 <= c < 127 else f"\\x{c:02x}" for c in payload.partition(b"\0")[0]).strip(" ")


def _printable(text: bytes) -> str:
    """As the device wrote it; what cannot be shown, as \\xNN. Chinese devices write GBK or UTF-8."""
    for encoding in ("utf-8", "gbk"):
        try:
            decoded = text.decode(encoding)
        except UnicodeDecodeError:
            continue
        if decoded.strip("\0 ").isprintable():
            return decoded.strip("\0 ")
    return text.decode("ascii", "backslashreplace")
