"""What numbers allow to say: intervals, seed spread, test sampling, verdicts; arrays in, numbers out."""
