"""The command line: words to a command, help, completion, and errors in one line each.

Each command is a file of `commands`; what a run does is in `pipeline`, its cost in `planning`.
"""
