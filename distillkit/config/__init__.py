"""Config: from YAML and overrides to checked settings and objects; nothing heavy is imported.

What settings mean for each other's sake, once they are built, is checked in `pipeline`.
"""
