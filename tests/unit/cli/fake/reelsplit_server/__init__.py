"""Stands in for the server where only the way in which it is started is tested."""
