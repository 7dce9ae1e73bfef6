"""How models are measured, compared and timed on held-out text, and what they write there.

Metrics as pure functions are in `metrics`; the stage that keeps the figures is `stages.evaluation`.
"""
