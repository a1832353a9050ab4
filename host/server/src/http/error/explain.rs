//! What each problem code means and what to do, as `/problems/{code}` and `walhost explain` say it.
//!
//! In: a code. Out: a few sentences for a person.

/// Cause and remedy; none for a code that the host does not answer with.
pub fn explanation(code: &str) -> Option<&'static str> {
    Some(match code {
        "malformed-json" => {
            "The body has to be JSON and could not be read as such, or it has another shape than the path asks for; `errors` names the place. An NDJSON body without any record is refused with this code too."
        }
        "malformed-cloudevent" => {
            "The body or the ce-* headers break the CloudEvents 1.0 specification; `errors` names the attribute."
        }
        "bad-header" => {
            "A request header cannot be understood, is given twice, is too long, or names something that belongs to HTTP or to walhost. Wal-Delay takes a duration such as 30s, Wal-Deliver-At an RFC 3339 time, Wal-Header-<name> any name that is not HTTP's own framing, webhook-*, wal-* or traceparent."
        }
        "bad-request" => {
            "A path or query parameter cannot be understood; the detail says which one and what would have worked."
        }
        "unauthenticated" => {
            "This listener asks for a bearer token: send `Authorization: Bearer …` with a token that is configured and has not expired."
        }
        "forbidden" => "The token is known, but none of its scopes allows this request.",
        "unknown-namespace" => {
            "This host serves no namespace of that name. `walhost ns list` shows those there are; a namespace is made by a file in conf.d or by PUT /admin/v1/namespaces/{ns}."
        }
        "not-found" => {
            "There is nothing under this path, or the record, dead letter, task or plugin is not known (any more): the state of a finished record can be asked for only within the namespace's `history`."
        }
        "method-not-allowed" => "The path exists; the Allow header lists the methods that it takes.",
        "timeout" => "The body made no progress for as long as `ingest.limits.body` allows. Nothing was appended.",
        "idempotency-in-flight" => {
            "A request with the same Idempotency-Key is being handled. Try again in a moment: the answer will be that of the first one."
        }
        "too-late" => {
            "Every target has delivered, dead-lettered or begun to deliver this record: it cannot be cancelled or rescheduled any more."
        }
        "config-managed" => {
            "`shard.config_managed` is true: several hosts share this shard and their files are the truth. Change the file and reload."
        }
        "conflict" => "What is asked for does not fit the present state; the detail says what is in the way.",
        "precondition-failed" => {
            "The If-Match header does not name the present version: somebody else changed it in between. GET it again, apply the change to that, and send its ETag."
        }
        "record-too-large" => {
            "One record is larger than the namespace's `limits.record`; `limit` says how many bytes are allowed."
        }
        "batch-too-large" => {
            "The body is larger than the namespace's `limits.batch` (after decompression), or has more records than one batch may have; `limit` says how much is allowed. Send it in parts."
        }
        "unsupported-media-type" => {
            "The content type or the Content-Encoding cannot be read here. Records take any content type, application/x-ndjson for batches, and the encodings gzip and zstd."
        }
        "wrong-shard" => {
            "The namespace belongs to another shard; `location` is that shard's address. Nothing was appended."
        }
        "idempotency-mismatch" => {
            "The Idempotency-Key was used before with another value, key, header, content type, target or delay. A new record needs a new key."
        }
        "delay-too-long" => {
            "The delay and its jitter together are longer than the namespace's `limits.delay`, or than its queue can hold a record."
        }
        "unknown-target" => {
            "The namespace has no target of that name; GET /v1/namespaces/{namespace} lists those it has."
        }
        "plugin-rejected" => {
            "The component cannot be loaded: it is no component, targets no world that this host serves, imports something that is not granted, breaks a limit, or its own init or a test refused. The version that ran before keeps running."
        }
        "unsupported-by-queue" => {
            "The namespace's kind of queue cannot do this; GET /admin/v1/namespaces/{ns} shows its capabilities."
        }
        "bad-config" => "The configuration that was handed in cannot be used; `errors` names every place.",
        "quota-exceeded" => {
            "The namespace's own quota is used up: its rate, its backlog in bytes, or its number of idempotency keys. Nothing was appended; Retry-After says when to try again."
        }
        "internal" => "Something broke inside the host. The log has a line with this request_id.",
        "queue-unavailable" => {
            "The namespace's queue cannot take records at the moment. Nothing was appended; try again after Retry-After."
        }
        "outcome-unknown" => {
            "The append failed at a point where it may or may not be durable (a failed sync, a broker that did not answer). Try again with an Idempotency-Key to be sure that there is one record."
        }
        "disk-full" => {
            "The data directory has less free space than `shard.min_free`. Delivery goes on; ingest resumes by itself when there is space."
        }
        "draining" => {
            "The host is shutting down and takes no new requests. Try again at another host, or after Retry-After."
        }
        "paused" => "The namespace's ingest was paused by an operator; `walhost ns resume` ends that.",
        "overloaded" => {
            "The host has as many bytes or connections in flight as it may. Nothing was read of the body; try again after Retry-After."
        }
        _ => return None,
    })
}
