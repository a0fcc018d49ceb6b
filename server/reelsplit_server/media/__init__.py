"""Everything that touches a codec: readable bytes in, files out. Knows no job and no cloud."""
