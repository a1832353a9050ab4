//! Deliveries to servers.
