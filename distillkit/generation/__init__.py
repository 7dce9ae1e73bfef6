"""Language models that write: held-out texts as prompts, and prompts continued in batches.

What the continuations are worth is told in `evaluation`.
"""
