"""What the box keeps: journal, events, points, ledger. One writer a file; acknowledged means durable."""
