"""The heart: jobs, segments and events, their transitions, store and scheduler. Knows no gRPC, codec or cloud."""
