"""What two or more methods share: encoders, losses, heads, masking."""
