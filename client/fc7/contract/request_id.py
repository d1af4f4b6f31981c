"""The id of a call: metadata that a caller may send, and that the server sends back at the end of the call."""

REQUEST_ID = "x-request-id"
TRACE_KEYS = ("traceparent", "tracestate")  # of the trace that a call belongs to, https://www.w3.org/TR/trace-context
