"""The contract's messages as dataclasses, one module for each proto file."""
