"""Every picture that fc7 draws: contact sheets of hits, and explanations."""
