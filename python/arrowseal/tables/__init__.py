"""Tables in objects: what the faces for pandas, polars and pyarrow have in common."""
