"""Writes pcap files from nothing: link, IP and TCP headers, and the two sides of a TCP connection."""

import ipaddress
import struct
from dataclasses import dataclass, field

MAGICS = {("<", False): "d4c3b2a1", (">", False): "a1b2c3d4", ("<", True): "4d3cb2a1", (">", True): "a1b23c4d"}
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
T0_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def pcap_bytes(packets, *, order="<", nano=False, link_type=1, snaplen=65_535):
    """A classic pcap file of (time [ns], bytes) packets; what exceeds `snaplen` is cut off, as at a real capture."""
    out = [bytes.fromhex(MAGICS[order, nano]), struct.pack(order + "HHiIII", 2, 4, 0, 0, snaplen, link_type)]
    for time_ns, data in packets:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        kept = data[:snaplen]
        out.append(struct.pack(order + "IIII", seconds, rest if nano else rest // 1000, len(kept), len(data)) + kept)
    return b"".join(out)


def ethernet(payload, kind, vlans=()):
    """An Ethernet frame, padded to 60 bytes as on the wire."""
    tags = b"".join(struct.pack(">HH", 0x8100, vlan) for vlan in vlans)
    return (b"\x02" * 6 + b"\x04" * 6 + tags + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def ip_packet(source, target, tcp):
    """An IPv4 or IPv6 packet, by the addresses, and its EtherType."""
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if src.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0)
        return head + src.packed + dst.packed + tcp, 0x0800
    return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + src.packed + dst.packed + tcp, 0x86DD


def linked(frame, link_type, order="<"):
    """An Ethernet frame's packet behind another link header; `order` is the capturing machine's (BSD NULL)."""
    kind = struct.unpack_from(">H", frame, 12)[0]
    packet = frame[14:]
    family = 2 if kind == 0x0800 else 30
    heads = {
        0: struct.pack(order + "I", family),
        1: frame[:14],
        101: b"",
        108: struct.pack(">I", family),
        113: struct.pack(">HHH8sH", 0, 1, 6, b"\x02" * 6, kind),
        276: struct.pack(">HHIHBB8s", kind, 0, 1, 1, 0, 6, b"\x02" * 6),
    }
    return heads[link_type] + packet


def block(kind, body, order="<"):
    """A block of a pcapng file."""
    body += b"\0" * (-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(code, data, order="<"):
    """An option of a pcapng block."""
    return struct.pack(order + "HH", code, len(data)) + data + b"\0" * (-len(data) % 4)


def section(order="<"):
    """A section header of pcapng."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type=1, order="<", options=b""):
    """An interface description of pcapng."""
    return block(1, struct.pack(order + "HHI", link_type, 0, 0) + options, order)


def enhanced(stamp, data, order="<", number=0):
    """An enhanced packet block, its time in the ticks of its interface."""
    head = struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data, order)


def pcapng_bytes(packets, *, order="<", link_type=1):
    """A pcapng file of (time [ns], bytes) packets with nanosecond times, and blocks that a reader must pass over."""
    nano = interface(link_type, order, option(2, b"eth0", order) + option(9, b"\x09", order) + option(0, b"", order))
    names = block(4, b"\0\0\0\0", order)
    statistics = block(5, b"\0" * 12, order)
    middle = b"".join(enhanced(time_ns, data, order) for time_ns, data in packets)
    return section(order) + nano + names + middle + statistics


def tcp_bytes(ports, seq, ack, flags, payload=b"", options=b""):
    """A TCP segment without check sum; `ports` = (source, target)."""
    offset = (20 + len(options)) // 4
    head = struct.pack(">HHIIBBHHH", *ports, seq % 2**32, (ack or 0) % 2**32, offset << 4, flags, 8192, 0, 0)
    return head + options + payload


@dataclass
class Dialog:
    """One TCP connection: side 0 is the client. Sequence numbers go on by what each side sends."""

    client: tuple = ("192.168.7.10", 49_152)
    server: tuple = ("192.168.7.20", 502)
    isn: tuple = (1000, 5000)
    vlans: tuple = ()
    sent: list = field(default_factory=lambda: [0, 0])

    def handshake(self, time_ns):
        """SYN, SYN-ACK, ACK."""
        first = [
            (time_ns, self._packet(0, -1, SYN, ack=False)),
            (time_ns + 1000, self._packet(1, -1, SYN | ACK)),
            (time_ns + 2000, self._packet(0, 0, ACK)),
        ]
        return first

    def send(self, side, time_ns, data):
        """The packet of the next bytes of a side; it acknowledges all that the other side sent."""
        packet = (time_ns, self._packet(side, self.sent[side], ACK, data))
        self.sent[side] += len(data)
        return packet

    def again(self, side, time_ns, offset, data):
        """A retransmission of bytes from an offset of the side's stream."""
        return time_ns, self._packet(side, offset, ACK, data)

    def finish(self, time_ns):
        """FIN of both sides."""
        return [(time_ns, self._packet(side, self.sent[side], FIN | ACK)) for side in (0, 1)]

    def _packet(self, side, offset, flags, data=b"", ack=True):
        ends = (self.client, self.server) if side == 0 else (self.server, self.client)
        seq = self.isn[side] + 1 + offset
        acked = self.isn[1 - side] + 1 + self.sent[1 - side] if ack else None
        tcp = tcp_bytes((ends[0][1], ends[1][1]), seq, acked, flags, data)
        payload, kind = ip_packet(ends[0][0], ends[1][0], tcp)
        return ethernet(payload, kind, self.vlans)


def adu(transaction, unit, pdu):
    """One Modbus TCP message."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def read_request(function, first, count):
    """PDU of functions 1 … 4."""
    return struct.pack(">BHH", function, first, count)


def words_reply(function, *words):
    """PDU of a reply with registers."""
    return struct.pack(">BB", function, 2 * len(words)) + struct.pack(f">{len(words)}H", *words)
