//! Process state and sessions: clients, statistics, blocked clients. No command behaviour.
