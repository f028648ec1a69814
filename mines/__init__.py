"""One mine's box: what a sample is, where it is kept, when it is an alarm. Imports no other room."""
