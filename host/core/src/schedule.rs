//! What waits for a time or holds a key; shared by the queues.
