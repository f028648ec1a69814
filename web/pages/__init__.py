"""One module a page: a function that returns a plain document. HTML and JSON are two renderings of that document."""
