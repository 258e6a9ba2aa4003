//! The wire protocol: request parser, reply writer, every error text.
