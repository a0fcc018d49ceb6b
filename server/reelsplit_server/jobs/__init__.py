"""The heart: records, transitions, store and scheduler. Knows no gRPC, codec or cloud."""
