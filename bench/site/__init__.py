"""What `bench ui` serves before MLflow: the studies at a glance, and their reports."""
