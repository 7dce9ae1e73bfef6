"""One file a command, thin: what `pipeline` and `planning` offer, wired and put into words.

What takes more than wiring belongs there.
"""
