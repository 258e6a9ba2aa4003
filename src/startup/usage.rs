//! What `--version` and `--help` print.

use std::fmt::Write;

use crate::config::{Config, Flags, OPTIONS, VALKEY_VERSION};

/// The line of `--version`: the version of Valkey whose behaviour this is, and our own as the build.
#[must_use]
pub fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    format!(
        "Valkey server v={VALKEY_VERSION} sha=00000000:0 malloc=jemalloc-5.3.1 bits=64 build=weighbridge-{own}"
    )
}

const FORMS: &str = "\
Usage: weighbridge [/path/to/valkey.conf] [options] [-]
       weighbridge - (read the configuration from standard input)
       weighbridge -v or --version
       weighbridge -h or --help
       weighbridge --check-system

Examples:
       weighbridge (run with the defaults)
       echo 'maxmemory 128mb' | weighbridge -
       weighbridge /etc/valkey/6379.conf
       weighbridge --port 7777
       weighbridge /etc/valkey.conf --loglevel verbose

Options, each as --name value, with their defaults:

";

/// The text of `--help`: how to call the server, and every option that has an effect.
#[must_use]
pub fn help() -> String {
    let defaults = Config::default();
    let mut text = FORMS.to_owned();
    for option in
        OPTIONS.iter().filter(|option| !option.flags.has(Flags::INERT) && !option.flags.has(Flags::HIDDEN))
    {
        // The default of `dir` is wherever the server is started.
        let default = if option.name == "dir" { b"./".to_vec() } else { defaults.print(option) };
        let default = if default.is_empty() { "\"\"".into() } else { String::from_utf8_lossy(&default) };
        let _ = writeln!(text, "  --{} {default}\n        {}", option.name, option.doc);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_line_is_one_that_tools_can_read() {
        assert!(version().starts_with("Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-"));
    }

    #[test]
    fn help_lists_options_with_their_defaults() {
        let text = help();
        assert!(text.contains("  --port 6379\n"));
        assert!(text.contains("  --hash-max-listpack-entries 512\n"));
        assert!(!text.contains("--syslog-enabled"));
    }
}
