//! The fields of INFO as numbers and words.

use super::reply::Conversation;

/// The text of one section.
pub fn section(conversation: &mut Conversation, name: &str) -> String {
    let reply = conversation.ask(&format!("INFO {name}"));
    reply.replace("\\r\\n", "\n")
}

/// The value of a field of a section; panics when it is not there.
pub fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no field {name} in\n{text}")).trim_end_matches('"').to_owned()
}

/// The value of a field that is a number.
pub fn number(text: &str, name: &str) -> i64 {
    let value = field(text, name);
    value.parse().unwrap_or_else(|_| panic!("{name} is {value}"))
}
