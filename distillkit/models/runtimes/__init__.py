"""Runtimes of compressed models: each is called as a model of transformers is, and answers so.

A file a runtime; which one a folder is for is told by what lies in it (`registry.py`). How these
folders are written is in `compression`.
"""
