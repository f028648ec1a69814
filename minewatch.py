"""The roof of minewatch: wires everything; imported by nobody."""
