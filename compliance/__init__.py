"""Duty: what the record says about the law and the targets. Imports mines only."""
