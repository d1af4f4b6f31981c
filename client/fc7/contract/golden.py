"""How far features may be from the golden values of a network."""

TOLERANCE = 1e-4  # share of the layer's largest golden value
# The same for golden files. Decoders of other versions differ by a level or two, which costs up to 0.06 in the shipped
# networks. A picture that lies on its side, shows what is transparent, or is clipped at 8 bits costs 0.3 and more.
FILE_TOLERANCE = 0.1
