"""Every picture that fc7 draws on the client's side.

`page` lays out rows of captioned pictures, and `text` holds the font; all drawings go through both. `contact_sheet`
draws the hits of searches, `explanations` draws what `client.explain` returns. `pictures` and `maps` make the parts:
pictures from files, and images from arrays.
"""
