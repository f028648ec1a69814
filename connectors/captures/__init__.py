"""Captures: other people's traffic, and stretches of our own record, as folders that replay exactly."""
