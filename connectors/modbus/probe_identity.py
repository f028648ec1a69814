"""What a device says of itself (43/14), object by object. Pure.

Source: MODBUS Application Protocol V1.1b3, 6.21, table of object ids.
"""

from __future__ import annotations

from typing import Final

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
