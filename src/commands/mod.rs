//! The commands, one family a file; a command is one block: specification and handler together.
