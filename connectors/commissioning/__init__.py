"""The commissioning report: what each line, device and point is set to, and what it says, to be compared and signed."""
