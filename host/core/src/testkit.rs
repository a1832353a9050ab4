//! References and suites that every implementation of a port is tested with.
