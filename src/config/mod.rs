//! One table of options: name, type, default, mutability, documentation; the file reader and rewriter.
