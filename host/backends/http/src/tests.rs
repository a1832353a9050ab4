//! Deliveries to local servers.
