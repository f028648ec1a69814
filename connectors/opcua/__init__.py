"""OPC UA: read-side services only. `session.py` is the one door to the protocol library."""
