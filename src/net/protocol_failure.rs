//! What follows when a peer does not speak the protocol: it is told so and closed, and the log shows what it sent.

use std::fmt::Write;

use super::connection::Connection;
use crate::resp::{ProtocolError, Reply};
use crate::server::Engine;

/// Bytes that the log shows whole (Valkey: `PROTO_DUMP_LEN`); of more it shows half as many at either end.
const SHOWN: usize = 128;

/// What stands for bytes of users.
const HIDDEN: &str = "*redacted*";

/// Tells the peer, has it closed, and logs what is unread of it.
pub(super) fn report(
    engine: &mut Engine,
    connection: &Connection,
    failure: &ProtocolError,
    reply: &mut Reply,
) {
    let server = &mut engine.server;
    server.stats.count_error("ERR");
    let Some(client) = server.clients.get_mut(connection.key) else { return };
    let is_primary = client.primary.is_some();
    let hides = server.config.hide_user_data_from_log;
    let is_logged = is_primary || tracing::enabled!(tracing::Level::DEBUG);
    let line = is_logged.then(|| {
        let sent = match hides {
            true => HIDDEN.to_owned(),
            false => sample(connection.input.borrow().query.unread()),
        };
        let client = client.describe(server.now_ms, hides);
        let client = String::from_utf8_lossy(&client);
        format!("Protocol error ({}) from client: {client}. Query buffer: {sent}", failure.log_reason())
    });
    client.close_after_reply = true;
    if let Some(stream) = &mut client.primary {
        // Where such a stream was cannot be trusted.
        stream.unusable = true;
    } else {
        failure.write(reply);
    }
    match line {
        Some(line) if is_primary => tracing::warn!("{line}"),
        Some(line) => tracing::debug!("{line}"),
        None => {}
    }
}

/// The beginning and the end of what was sent, in characters that a terminal shows as they are.
fn sample(bytes: &[u8]) -> String {
    let plain = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }).collect()
    };
    let (Some((first, _)), Some((_, last)), Some(between)) = (
        bytes.split_at_checked(SHOWN / 2),
        bytes.split_at_checked(bytes.len().saturating_sub(SHOWN / 2)),
        bytes.len().checked_sub(SHOWN),
    ) else {
        return format!("'{}'", plain(bytes));
    };
    let mut text = format!("'{}'", plain(first));
    // Writing to a text cannot fail.
    let _ = write!(text, " (... more {between} bytes ...) '{}'", plain(last));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_short_and_printable() {
        assert_eq!(sample(b"*1\r\n$blabla\r\n\xff"), "'*1..$blabla...'");
        assert_eq!(sample(b""), "''");
        let text = sample(&[b'x'; 1000]);
        assert!(text.contains(" (... more 872 bytes ...) ") && text.len() < 200, "{text}");
    }
}
