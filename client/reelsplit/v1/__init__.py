"""Generated from protos/reelsplit/v1 by scripts/generate_protos.py."""
