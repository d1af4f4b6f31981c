"""How far features may be from the golden values of a network."""

TOLERANCE = 1e-4  # share of the layer's largest golden value
