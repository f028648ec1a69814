"""Maps of registers that other projects keep, read as a draft of a site: never guessed, every row accounted for."""
