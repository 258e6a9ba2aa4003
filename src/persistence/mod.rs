//! The forked child and its frames, snapshot save and load.
