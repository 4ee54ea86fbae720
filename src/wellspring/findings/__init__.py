"""What the outcomes say: tests, intervals, effect sizes and similarity, in one tidy table."""
