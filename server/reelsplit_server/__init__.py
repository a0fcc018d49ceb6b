"""The Reelsplit service: splits long videos into segments over gRPC."""
