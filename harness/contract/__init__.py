"""What whoever plugs something in promises, and the checks that hold it to that."""
