"""The id of a call: metadata that a caller may send, and that the server sends back at the end of the call."""

REQUEST_ID = "x-request-id"
