"""The client's methods as operations: all that the synchronous and the asynchronous client share."""
