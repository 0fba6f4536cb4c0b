"""Work on many objects of a bucket at a time."""
