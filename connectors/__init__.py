"""The field: everything that speaks a protocol. Imports mines only."""
