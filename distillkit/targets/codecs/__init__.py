"""How soft targets are kept: the protocol of a codec, and one file a codec.

Shards, manifests and whole stores are in `targets`; this package knows positions alone.
"""
