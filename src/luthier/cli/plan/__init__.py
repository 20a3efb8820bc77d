"""``luthier plan``: a file for each question."""
