"""`python -m hcbench` does what `hcbench` does."""

from hcbench.harness.cli.main import app

if __name__ == "__main__":
    app()
