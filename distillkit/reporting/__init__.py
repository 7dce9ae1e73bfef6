"""Figures for people: tables, plots, leaderboards and the model card.

How figures come about is in `evaluation`; lines while a run works are in `console`.
"""
