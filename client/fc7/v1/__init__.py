"""The contract: stubs generated from `proto/fc7/v1` by `make proto`, and its one constant."""

# Largest message either way; both sides and the client's retry buffer take it from here.
MAX_MESSAGE_BYTES = 64 * 2**20
