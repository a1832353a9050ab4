//! Each sentence of contract.md §7 about the breaker, as a test.
