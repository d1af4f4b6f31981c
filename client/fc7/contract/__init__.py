"""What the client, the service and the training code share: the contract beside the messages and the errors."""
