"""OPC UA: read-side services only. `session.py`, `wire.py` and `security.py` are the doors to the protocol library."""
