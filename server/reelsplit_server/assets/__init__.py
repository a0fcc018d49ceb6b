"""The media registry: locations with an id, and the facts of what lies there."""
