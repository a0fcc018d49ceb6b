"""What one worker process does with one unit."""
