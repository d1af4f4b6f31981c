"""The methods of a client as operations, which the synchronous and the asynchronous client share."""
