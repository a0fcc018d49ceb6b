"""Where bytes live: opening sources, publishing outputs."""
