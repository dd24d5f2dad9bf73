//! Password hashes, access tokens, opaque tokens, ids and time.
