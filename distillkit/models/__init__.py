"""Models in Hugging Face format: loaded safely, called, shaped, saved for readers of several years.

What their outputs mean is a task's; how a student is made of one is in `students`.
"""
