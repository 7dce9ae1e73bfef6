"""Text to token ids with what counts among them: one file for each kind of text, once in a run.

What is predicted at the positions that count is said by the task.
"""
