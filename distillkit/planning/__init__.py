"""What a run will compute, hold and keep, told before it runs.

Nothing is trained here, and no teacher is run; what is there already is asked of `pipeline`.
"""
