-- The place in a trace of the request that asked for the mail, as `traceparent` names it.
ALTER TABLE outbox ADD COLUMN trace_parent text;
