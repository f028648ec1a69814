"""OPC UA binary messages from nothing: chunks, service headers, and a session that reads and subscribes."""

import struct

HEADER_POLICY = b"http://opcfoundation.org/UA/SecurityPolicy#"


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<i", len(data)) + data


def node(number, index=0):
    return struct.pack("<BBH", 1, index, number)


def named(name, index):
    return struct.pack("<BH", 3, index) + text(name)


def chunk(kind, body, end=b"F"):
    return kind + end + struct.pack("<I", len(body) + 8) + body


def hello(url="opc.tcp://192.168.7.20:4840/mine"):
    return chunk(b"HEL", struct.pack("<IIIII", 0, 65_536, 65_536, 0, 0) + text(url))


def acknowledge():
    return chunk(b"ACK", struct.pack("<IIIII", 0, 65_536, 65_536, 0, 0))


def opened(policy="None", channel=1):
    head = struct.pack("<I", channel) + text(HEADER_POLICY + policy.encode()) + struct.pack("<ii", -1, -1)
    return chunk(b"OPN", head + struct.pack("<II", 1, 1) + node(449) + b"\0" * 40)


def message(request_id, body, *, channel=1, end=b"F", kind=b"MSG"):
    return chunk(kind, struct.pack("<IIII", channel, 1, request_id, request_id) + body, end)


def request(number, body):
    head = node(0) + struct.pack("<qIIiI", 0, 1, 0, -1, 1000) + b"\0\0\0"
    return node(number) + head + body


def reply(number, body, result=0):
    return node(number) + struct.pack("<qII", 0, 1, result) + b"\0" + struct.pack("<i", 0) + b"\0\0\0" + body


def array(items):
    return struct.pack("<i", len(items)) + b"".join(items)


def read_id(node_bytes, attribute=13):
    return node_bytes + struct.pack("<Ii", attribute, -1) + struct.pack("<Hi", 0, -1)


def read(*nodes):
    return request(631, struct.pack("<dI", 0.0, 2) + array([read_id(each) for each in nodes]))


def value(number, form="d", kind=11, status=None, ticks=None):
    mask = 1 | (2 if status is not None else 0) | (4 if ticks is not None else 0)
    out = struct.pack("<BB", mask, kind) + struct.pack("<" + form, number)
    out += b"" if status is None else struct.pack("<I", status)
    return out + (b"" if ticks is None else struct.pack("<q", ticks))


def values(*items):
    return reply(634, array(items) + struct.pack("<i", -1))


def monitor(subscription, *wishes):
    """Wishes are (node bytes, handle)."""
    items = [
        read_id(each) + struct.pack("<I", 2) + struct.pack("<Id", handle, 100.0) + b"\0\0\0" + struct.pack("<IB", 1, 1)
        for each, handle in wishes
    ]
    return request(751, struct.pack("<II", subscription, 2) + array(items))


def monitored(*numbers):
    items = [struct.pack("<IIdI", 0, number, 100.0, 1) + b"\0\0\0" for number in numbers]
    return reply(754, array(items) + struct.pack("<i", -1))


def publish():
    return request(826, struct.pack("<i", -1))


def published(subscription, *changes):
    """Changes are (handle, data value bytes)."""
    body = array([struct.pack("<I", handle) + data for handle, data in changes]) + struct.pack("<i", -1)
    part = node(811) + b"\x01" + text(body)
    head = struct.pack("<I", subscription) + struct.pack("<i", -1) + b"\0" + struct.pack("<Iq", 1, 0)
    return reply(829, head + array([part]) + struct.pack("<ii", -1, -1))


def namespaces(*uris):
    """The value of a NamespaceArray."""
    return struct.pack("<BB", 1, 0x80 | 12) + array([text(uri) for uri in uris])
