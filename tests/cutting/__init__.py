"""The proof that cuts are exact: clips of every structure, and a reader that believes nothing.

`recipes` names the clips, `pattern` and `noise` fill them so that every frame and every sample
tells its place, `film` reads a file back, `checker` holds a cut against its source, `totals` adds
up.
"""
