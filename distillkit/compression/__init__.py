"""A trained student in fewer bytes, or for another runtime: each variant a folder of its own.

What runs these folders is in `models/runtimes`; which variants a run makes is a stage's.
"""
