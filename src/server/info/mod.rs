//! INFO: which sections are asked for, and their text.
//!
//! Names, order and formats of the fields are Valkey 9.1's; what this server has no part of stands as Valkey shows it
//! when it is not in use.

mod activity;
mod process;
mod replica;
mod replication;

use std::fmt::{Display, Write};

use super::Server;
use super::command::Args;
use crate::keyspace::Keyspace;

/// A section: the name it is asked for with, its heading, whether it is shown without being asked for, and its writer.
struct Section {
    name: &'static str,
    heading: &'static str,
    in_default: bool,
    write: fn(&mut Fields, &Keyspace, &mut Server),
}

const fn section(
    name: &'static str,
    heading: &'static str,
    in_default: bool,
    write: fn(&mut Fields, &Keyspace, &mut Server),
) -> Section {
    Section { name, heading, in_default, write }
}

const SECTIONS: &[Section] = &[
    section("server", "Server", true, process::server),
    section("tls", "TLS", false, process::tls),
    section("clients", "Clients", true, process::clients),
    section("memory", "Memory", true, process::memory),
    section("persistence", "Persistence", true, process::persistence),
    section("rdb_stats", "Rdb_stats", false, process::memory_profile),
    section("stats", "Stats", true, activity::stats),
    section("replication", "Replication", true, replication::replication),
    section("cpu", "CPU", true, process::cpu),
    section("module_list", "Modules", true, |_, _, _| ()),
    section("commandstats", "Commandstats", false, activity::command_stats),
    section("errorstats", "Errorstats", true, activity::error_stats),
    section("latencystats", "Latencystats", false, activity::latency_stats),
    section("cluster", "Cluster", true, |fields, _, server| {
        fields.field("cluster_enabled", u8::from(server.cluster.is_some()));
    }),
    section("cluster_info", "Cluster Info", false, |fields, _, server| {
        let info = server.cluster.as_ref().map(|cluster| cluster.info()).unwrap_or_default();
        info.iter().for_each(|(name, value)| fields.field(name, value));
    }),
    section("scriptingengines", "Scripting Engines", false, activity::scripting_engines),
    section("keyspace", "Keyspace", true, activity::keyspace),
];

/// Sections that only their own name, and no word for several, brings.
const ON_REQUEST: &[Section] = &[section("debug", "Debug", false, activity::debug)];

/// Which sections are wanted.
#[derive(Debug, Default)]
pub struct Selection {
    all: bool,
    default: bool,
    names: Vec<Vec<u8>>,
}

impl Selection {
    /// The sections that the arguments name: words in any case, none for the default ones.
    #[must_use]
    pub fn parse(args: Args<'_>) -> Self {
        let mut selection = Self { default: args.is_empty(), ..Self::default() };
        for arg in args.iter() {
            match arg.to_ascii_lowercase() {
                word if word == b"default" => selection.default = true,
                word if word == b"all" || word == b"everything" => selection.all = true,
                word => selection.names.push(word),
            }
        }
        selection
    }

    fn names(&self, section: &Section) -> bool {
        let named = |name: &str| self.names.iter().any(|wanted| wanted == name.as_bytes());
        named(section.name) || (section.name == "module_list" && named("modules"))
    }

    fn wants(&self, section: &Section) -> bool {
        self.all || (self.default && section.in_default) || self.names(section)
    }
}

/// The text of the sections that are wanted.
#[must_use]
pub fn render(selection: &Selection, keyspace: &Keyspace, server: &mut Server) -> String {
    let mut fields = Fields::default();
    let wanted = SECTIONS.iter().filter(|section| selection.wants(section));
    for section in wanted.chain(ON_REQUEST.iter().filter(|section| selection.names(section))) {
        fields.heading(section.heading);
        (section.write)(&mut fields, keyspace, server);
    }
    fields.text
}

/// The text of INFO as it grows.
#[derive(Default)]
struct Fields {
    text: String,
}

impl Fields {
    fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        // Writing to a string cannot fail; so in all of these.
        let _ = write!(self.text, "# {heading}\r\n");
    }

    fn field(&mut self, name: impl Display, value: impl Display) {
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    fn fields(&mut self, fields: &[(&str, &dyn Display)]) {
        for (name, value) in fields {
            self.field(name, value);
        }
    }

    /// Fields of what is not there or never happens.
    fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.field(name, 0);
        }
    }

    fn ratio(&mut self, name: &str, value: f64) {
        let _ = write!(self.text, "{name}:{value:.2}\r\n");
    }

    /// Bytes as a number, and with a unit in a field of its own.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        let _ = write!(self.text, "{name}_human:{}\r\n", Human(bytes));
    }
}

/// Bytes with a unit, as Valkey prints them for people.
pub struct Human(pub u64);

impl Display for Human {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
        let mut value = self.0 as f64;
        if self.0 < 1024 {
            return write!(f, "{}B", self.0);
        }
        for unit in UNITS {
            value /= 1024.0;
            if value < 1024.0 {
                return write!(f, "{value:.2}{unit}");
            }
        }
        write!(f, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_with_the_largest_unit_that_fits() {
        let shown = |bytes| Human(bytes).to_string();
        assert_eq!(shown(1023), "1023B");
        assert_eq!(shown(1024), "1.00K");
        assert_eq!(shown(1_407_856), "1.34M");
        assert_eq!(shown(25_276_502_016), "23.54G");
    }
}
