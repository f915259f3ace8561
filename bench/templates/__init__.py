"""What `bench new` writes: components that work, which the pages on adding one show word for word."""
