"""Alarms: limits as arrays, one pure step over them, and the picture of what stands. No I/O, no time of day."""
