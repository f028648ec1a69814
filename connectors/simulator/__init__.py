"""Devices that are not there: scenarios (pure) and the servers that speak them. Nothing here reads the field."""
