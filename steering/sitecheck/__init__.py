"""`steering check --sites`: whether answers come back over each path, and if not, why."""
