"""A run's artifacts and how they are wired: found in the workspace, or made by a stage.

What a stage does is in `stages`; what it would cost is told in `planning`.
"""
