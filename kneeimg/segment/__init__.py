"""From an image to the anatomy on it: masks of MR series, bone margins of films."""
