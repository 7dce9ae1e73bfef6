"""One file a command, thin: it wires what `pipeline` and `planning` offer."""
