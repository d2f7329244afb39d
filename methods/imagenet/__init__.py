"""Control: the backbone with timm's published weights."""
