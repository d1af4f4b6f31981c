"""The server of fc7: capabilities behind gRPC. Start it with `fc7 serve` or `fc7.connect()`."""
