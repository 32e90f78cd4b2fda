"""One function per command: the glue between the parts, callable from Python, with nothing of the terminal in it."""
