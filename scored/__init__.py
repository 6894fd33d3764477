"""The library behind the scripts; nothing in it is run."""
