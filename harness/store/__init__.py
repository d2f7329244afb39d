"""What is kept: the workspace, and MLflow as the store of results."""
