"""A stand-in of the Hugging Face hub: its HTTP API on this machine, with tiny models and data."""
