"""Where units of work run: the seam, and behind it the process pool."""
