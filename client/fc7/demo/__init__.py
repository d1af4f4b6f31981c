"""The demonstration behind `fc7 demo`: the photographs, the views of them, and the raw-pixel baseline."""
