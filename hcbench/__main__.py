"""`python -m hcbench` does what `hcbench` does."""

from hcbench.harness.cli import app

if __name__ == "__main__":
    app()
