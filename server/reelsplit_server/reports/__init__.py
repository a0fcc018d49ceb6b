"""What a job writes besides its segments: lists for people, scripts and editing programs."""
