"""The methods of the client that waits for its answers, by subject."""
