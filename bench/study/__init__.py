"""A question written down as data: what a study is, how its file is read and checked, and what it comes apart into."""
