"""Our own shot detector: small pictures of frames in, typed boundaries out."""
