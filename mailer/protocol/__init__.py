"""SMTP's vocabulary: replies, enhanced status codes, the phases of a mail transaction. Pure."""
