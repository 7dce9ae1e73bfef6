"""Stages: plain functions that turn artifacts into an artifact, and say what decides it.

They know no config and no command; which stage a run needs is decided in `pipeline`.
"""
