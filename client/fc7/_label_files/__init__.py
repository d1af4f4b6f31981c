"""Label records in the files of other programs: one module per format."""
