"""Which OPC UA services may leave the box: those that read. Everything else is refused before a byte of it is sent.

Pure. The numbers are node ids of the requests' binary encodings (Opc.Ua.NodeIds, …Request_Encoding_DefaultBinary).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mines.errors import SourceError

READ_SIDE: Final[Mapping[int, str]] = MappingProxyType(
    {
        422: "FindServers",
        428: "GetEndpoints",
        446: "OpenSecureChannel",
        452: "CloseSecureChannel",
        461: "CreateSession",
        467: "ActivateSession",
        473: "CloseSession",
        527: "Browse",
        533: "BrowseNext",
        554: "TranslateBrowsePathsToNodeIds",
        631: "Read",
        664: "HistoryRead",
        751: "CreateMonitoredItems",
        781: "DeleteMonitoredItems",
        787: "CreateSubscription",
        826: "Publish",
        847: "DeleteSubscriptions",
    }
)


def require_read_side(namespace: int, type_id: object, name: str) -> None:
    """Lets a request of the read side pass.

    Args:
        namespace: Namespace index of the request's type id.
        type_id: Its number.
        name: What to call the request in the message.
    Raises:
        SourceError: the request is none of `READ_SIDE`: a defect of this program, never a fault of the field.
    """
    if namespace != 0 or type_id not in READ_SIDE:
        raise SourceError(f"{name} ({namespace}, {type_id}) is no service of the read side and is not sent")
