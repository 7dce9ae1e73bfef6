"""Commands: config -> objects -> stages, one file each."""
