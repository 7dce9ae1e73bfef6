"""Artifacts: what stages made, in a workspace; verified, locked, shared, listed and removed.

How an artifact is named, kept and found is here; what is in one, and how it is made, is a stage's.
"""
