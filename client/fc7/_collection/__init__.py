"""The methods of a collection, by what they do."""
