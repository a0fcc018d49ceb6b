"""The gRPC face: servicers, error mapping, interceptors. Thin."""
