"""Stages: plain functions that turn artifacts into an artifact, and say what decides it."""
