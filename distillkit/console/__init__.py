"""What a person reads: progress, warnings, wording; foreign text escaped and secrets masked.

Nothing here knows of models or runs; reports and pictures are in `reporting`.
"""
