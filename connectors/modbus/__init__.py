"""Modbus TCP: codec, plan, address, mbap and health are pure; link is the wire, line the isolation, source the seam."""
