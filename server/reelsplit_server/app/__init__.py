"""The use cases that every face calls: every rule once."""
